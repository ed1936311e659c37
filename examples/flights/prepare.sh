#!/usr/bin/env bash
# Makes data/flights/ from the table `flights` of nycflights13 as CSV: the one in $MUSTER_DATA/nycflights13 or data/raw/flights
# (in R: write.csv(nycflights13::flights, gzfile("flights.csv.gz"), row.names = FALSE)).
set -euo pipefail
cd "$(dirname "$0")/../.."
name=flights
. examples/prepare.bash

file=$raw/flights.csv.gz
[ -f "$file" ] || [ ! -f "${MUSTER_DATA:-}/nycflights13/flights.csv.gz" ] || cp "$MUSTER_DATA/nycflights13/flights.csv.gz" "$file"
[ -f "$file" ] || fail "put flights.csv.gz into $raw (see the first lines of this script), or set MUSTER_DATA"

# Two columns more, both known before a flight leaves:
# scheduled  when it was to leave: its departure less its delay, in minutes of the day
# yesterday  share of the flights from the same airport that were late (more than 15 minutes) the day before; the last of
#            them have landed when the first of today leave. Empty on the first day.
gzip -dc "$file" | tr -d '"' > "$raw/part.csv"
awk -F, -v OFS=, '
  function day_number(year, month, d) {  # days since 1970, with years that begin in March
    if (month <= 2) { year--; month += 12 }
    return 365 * year + int(year / 4) - int(year / 100) + int(year / 400) + int((153 * (month - 3) + 2) / 5) + d - 719469
  }
  FNR == 1 { pass++; for (i = 1; i <= NF; ++i) at[$i] = i; if (pass == 2) print $0, "scheduled", "yesterday"; next }
  { day = day_number($at["year"], $at["month"], $at["day"]); from = $at["origin"] }
  pass == 1 {
    if ($at["arr_delay"] != "NA") { flights[from, day]++; if ($at["arr_delay"] > 15) late[from, day]++ }
    next
  }
  {
    minute = 0
    if ($at["dep_time"] != "NA" && $at["dep_delay"] != "NA") {
      minute = int($at["dep_time"] / 100) * 60 + $at["dep_time"] % 100 - $at["dep_delay"]
      minute = (minute % 1440 + 1440) % 1440
    }
    share = ((from, day - 1) in flights) ? late[from, day - 1] / flights[from, day - 1] : ""
    print $0, sprintf("%04d-%02d-%02dT%02d:%02d:00", $at["year"], $at["month"], $at["day"], int(minute / 60), minute % 60), share
  }' "$raw/part.csv" "$raw/part.csv" | gzip -1 > "$raw/part.gz"
rm "$raw/part.csv"
mv "$raw/part.gz" "$raw/flights-scheduled.csv.gz"
ingest_and_validate
