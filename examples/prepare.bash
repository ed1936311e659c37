# What the examples' prepare.sh scripts share. Source it from the repository's root after setting `name`.

fail() {
  echo "prepare.sh: $1" >&2
  exit 1
}

raw=data/raw/$name
muster=${MUSTER:-}
for built in build/release/bin/muster build/dev/bin/muster; do
  if [ -z "$muster" ] && [ -x "$built" ]; then muster=$built; fi
done
[ -n "$muster" ] || fail "there is no muster program: build it (bash setup.sh), or set MUSTER=/path/to/muster"

if [ -f "data/$name/manifest.json" ]; then
  echo "data/$name is there already; remove it to make it anew"
  exit 0
fi
mkdir -p "$raw"

unpack() { if [ "${1%.gz}" = "$1" ]; then cat "$1"; else gzip -dc "$1"; fi; }

# SHA-256 of the unpacked content: how a file was compressed does not matter.
is_published() { # file, SHA-256
  [ -f "$1" ] && [ "$(unpack "$1" | sha256sum | cut -d ' ' -f 1)" = "$2" ]
}

# A file into data/raw: what lies there already, else the copy in $MUSTER_DATA, else downloaded.
fetch() { # folder in $MUSTER_DATA, name, SHA-256 of the unpacked content, homes (folders on the web)…
  local folder=$1 file=$2 hash=$3 home part
  shift 3
  is_published "$raw/$file" "$hash" && return
  part=$raw/part.$file
  rm -f "$part"
  if [ -n "${MUSTER_DATA:-}" ] && [ -f "$MUSTER_DATA/$folder/$file" ]; then
    cp "$MUSTER_DATA/$folder/$file" "$part"
  else
    for home in "$@"; do
      echo "downloading $home/$file"
      curl --fail --location --silent --show-error --retry 2 --connect-timeout 20 -o "$part" "$home/$file" && break
    done
    [ -f "$part" ] || fail "cannot get $file: put it into $raw, or set MUSTER_DATA to a folder that has $folder/$file"
  fi
  if ! is_published "$part" "$hash"; then
    rm -f "$part"
    fail "$file is not the published file (SHA-256 of its content is not $hash)"
  fi
  mv "$part" "$raw/$file"
}

# From data/raw to a validated data/NAME.
ingest_and_validate() {
  if [ ! -f "data/$name/contract.yaml" ]; then "$muster" ingest "examples/$name/ingest.yaml" --out "data/$name"; fi
  "$muster" validate "data/$name"
}
