#!/usr/bin/env bash
# Makes data/fashion-mnist/ from the four original files: those in $MUSTER_DATA/fashion-mnist, else downloaded (30 MB).
set -euo pipefail
cd "$(dirname "$0")/../.."
name=fashion-mnist
. examples/prepare.bash

homes=(https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion
  http://fashion-mnist.s3-website.eu-central-1.amazonaws.com)
fetch fashion-mnist train-images-idx3-ubyte.gz c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888 "${homes[@]}"
fetch fashion-mnist train-labels-idx1-ubyte.gz bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9 "${homes[@]}"
fetch fashion-mnist t10k-images-idx3-ubyte.gz 5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b "${homes[@]}"
fetch fashion-mnist t10k-labels-idx1-ubyte.gz 0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34 "${homes[@]}"
ingest_and_validate
