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

# When a flight was to leave: its departure less its delay, both in minutes of the day. Empty where it never left. What
# depends on the departure itself is not passed on under that name.
gzip -dc "$file" | tr -d '"' | awk -F, -v OFS=, '
  NR == 1 { for (i = 1; i <= NF; ++i) at[$i] = i; print $0, "scheduled"; next }
  { when = ""
    if ($at["dep_time"] != "NA" && $at["dep_delay"] != "NA") {
      minute = int($at["dep_time"] / 100) * 60 + $at["dep_time"] % 100 - $at["dep_delay"]
      minute = (minute % 1440 + 1440) % 1440
      when = sprintf("%04d-%02d-%02dT%02d:%02d:00", $at["year"], $at["month"], $at["day"], int(minute / 60), minute % 60)
    } else {
      when = sprintf("%04d-%02d-%02dT00:00:00", $at["year"], $at["month"], $at["day"])
    }
    print $0, when }' | gzip -1 > "$raw/part.gz"
mv "$raw/part.gz" "$raw/flights-scheduled.csv.gz"
ingest_and_validate
