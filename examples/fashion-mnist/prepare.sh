#!/usr/bin/env bash
# Makes data/fashion-mnist/ from the four original files: those in $MUSTER_DATA/fashion-mnist, else downloaded (30 MB).
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
  echo "prepare.sh: $1" >&2
  exit 1
}

muster=${MUSTER:-}
for built in build/release/bin/muster build/dev/bin/muster; do
  if [ -z "$muster" ] && [ -x "$built" ]; then muster=$built; fi
done
[ -n "$muster" ] || fail "there is no muster program: build it (bash setup.sh), or set MUSTER=/path/to/muster"

if [ -f data/fashion-mnist/manifest.json ]; then
  echo "data/fashion-mnist is there already; remove it to make it anew"
  exit 0
fi

raw=data/raw/fashion-mnist
homes="https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion
http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
mkdir -p "$raw"

# SHA-256 of the unpacked content: how a file was compressed does not matter.
unpacked_hash() { gzip -dc "$1" | sha256sum | cut -d ' ' -f 1; }

fetch() { # name, SHA-256
  local name=$1 hash=$2 home
  if [ -f "$raw/$name" ] && [ "$(unpacked_hash "$raw/$name" || true)" = "$hash" ]; then return; fi
  if [ -n "${MUSTER_DATA:-}" ] && [ -f "$MUSTER_DATA/fashion-mnist/$name" ]; then
    cp "$MUSTER_DATA/fashion-mnist/$name" "$raw/$name.part"
  else
    for home in $homes; do
      echo "downloading $home/$name"
      curl --fail --location --silent --show-error --retry 2 --connect-timeout 20 -o "$raw/$name.part" "$home/$name" && break
    done
    [ -f "$raw/$name.part" ] || fail "cannot download $name: put the four files into $raw, or set MUSTER_DATA"
  fi
  if [ "$(unpacked_hash "$raw/$name.part" || true)" != "$hash" ]; then
    rm -f "$raw/$name.part"
    fail "$name is not the published file (SHA-256 of its content is not $hash)"
  fi
  mv "$raw/$name.part" "$raw/$name"
}

fetch train-images-idx3-ubyte.gz c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888
fetch train-labels-idx1-ubyte.gz bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9
fetch t10k-images-idx3-ubyte.gz 5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b
fetch t10k-labels-idx1-ubyte.gz 0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34

if [ ! -f data/fashion-mnist/contract.yaml ]; then
  "$muster" ingest examples/fashion-mnist/ingest.yaml --out data/fashion-mnist
fi
"$muster" validate data/fashion-mnist
