#!/usr/bin/env bash
# Makes data/tiny-shakespeare/ from one text: the one in $MUSTER_DATA/tinyshakespeare, else downloaded (1 MB).
set -euo pipefail
cd "$(dirname "$0")/../.."
name=tiny-shakespeare
. examples/prepare.bash

fetch tinyshakespeare input.txt 86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed \
  https://github.com/karpathy/char-rnn/raw/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare
ingest_and_validate
