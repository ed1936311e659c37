#!/usr/bin/env bash
# Makes data/california-housing/ from the CSV file: the one in $MUSTER_DATA/california-housing, else downloaded (1.4 MB).
set -euo pipefail
cd "$(dirname "$0")/../.."
name=california-housing
. examples/prepare.bash

fetch california-housing housing.csv 8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e \
  https://github.com/ageron/handson-ml2/raw/master/datasets/housing
ingest_and_validate
