#!/usr/bin/env bash
# Makes data/telco-churn/ from the CSV file: the one in $MUSTER_DATA/telco-churn, else downloaded (1 MB).
set -euo pipefail
cd "$(dirname "$0")/../.."
name=telco-churn
. examples/prepare.bash

fetch telco-churn Telco-Customer-Churn.csv 16320c9c1ec72448db59aa0a26a0b95401046bef5d02fd3aeb906448e3055e91 \
  https://github.com/IBM/telco-customer-churn-on-icp4d/raw/master/data
ingest_and_validate
