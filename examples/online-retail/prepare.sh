#!/usr/bin/env bash
# Makes data/online-retail/: weekly demand per stock code, from the UCI table "Online Retail" as CSV (InvoiceNo, StockCode,
# Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country): the one in $MUSTER_DATA/online-retail or data/raw/online-retail.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=online-retail
. examples/prepare.bash

file=$raw/online_retail.csv.gz
[ -f "$file" ] || [ ! -f "${MUSTER_DATA:-}/online-retail/online_retail.csv.gz" ] || cp "$MUSTER_DATA/online-retail/online_retail.csv.gz" "$file"
[ -f "$file" ] || fail "put online_retail.csv.gz into $raw (see the first lines of this script), or set MUSTER_DATA"

# Sales only: no cancellations (C…), no corrections (A…), nothing for free. A description may hold commas, what comes after it
# does not: those columns are counted from the end. A row is a code and a week, from its ninth week on, unless nobody asked for it for
# eight weeks: such rows are all alike. What a row knows ends with the week before. The first and the last week are cut off by the file.
gzip -dc "$file" | awk -F, -v OFS=, '
  function day_number(text,    year, month) {  # days since 1970, with years that begin in March
    year = substr(text, 1, 4) + 0; month = substr(text, 6, 2) + 0
    if (month <= 2) { year--; month += 12 }
    return 365 * year + int(year / 4) - int(year / 100) + int(year / 400) + int((153 * (month - 3) + 2) / 5) + substr(text, 9, 2) - 719469
  }
  NR == 1 { next }
  NF < 8 || $1 !~ /^[0-9]/ || $(NF - 4) <= 0 || $(NF - 2) <= 0 { left_out++; next }
  {
    week = int((day_number($(NF - 3)) + 3) / 7)  # from Monday on
    code = toupper($2)
    if (!(code in first)) first[code] = week
    if (!started) { started = week }
    demand[code, week] += $(NF - 4); orders[code, week]++; paid[code, week] += $(NF - 4) * $(NF - 2); last = week
  }
  END {
    print left_out " lines are no sales" > "/dev/stderr"
    print "code", "week", "demand_1", "demand_2", "demand_3", "demand_4", "demand_8_mean", "orders_1", "weeks_without", "price", "log_demand"
    for (code in first) {
      price = 0; without = 0
      for (week = first[code]; week < last; ++week) {
        if (week >= first[code] + 8 && week > started) {
          sum = 0
          for (back = 1; back <= 8; ++back) sum += demand[code, week - back]
          if (sum > 0) print code, week * 7 - 3, demand[code, week - 1] + 0, demand[code, week - 2] + 0, demand[code, week - 3] + 0,
                demand[code, week - 4] + 0, sum / 8, orders[code, week - 1] + 0, without, price, log(1 + demand[code, week])
        }
        if ((code, week) in paid) { price = paid[code, week] / demand[code, week]; without = 0 } else { without++ }
      }
    }
  }' | LC_ALL=C sort -t, -k2,2n -k1,1 -s > "$raw/part.csv"
{ grep '^code,' "$raw/part.csv"; grep -v '^code,' "$raw/part.csv" | awk -F, -v OFS=, '{ $2 = $2 * 86400; print }'; } | gzip -1 > "$raw/part.gz"
rm "$raw/part.csv"
mv "$raw/part.gz" "$raw/weekly.csv.gz"
ingest_and_validate
