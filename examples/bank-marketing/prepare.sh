#!/usr/bin/env bash
# Makes data/bank-marketing/ from bank-full.csv, gzipped: the one in $MUSTER_DATA/bank-marketing or data/raw/bank-marketing (it is in the archive
# of https://archive.ics.uci.edu/dataset/222).
set -euo pipefail
cd "$(dirname "$0")/../.."
name=bank-marketing
. examples/prepare.bash

fetch bank-marketing bank-full.csv.gz d1513ec63b385506f7cfce9f2c5caa9fe99e7ba4e8c3fa264b3aaf0f849ed32d
ingest_and_validate
