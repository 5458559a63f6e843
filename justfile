# Recipes for contributors; CONTRIBUTING.md explains the tiers. Without `just`, run the commands below by hand.

# List the recipes.
default:
    @just --list

# The fast tier: format, lints, unit tests, architecture, stored events, some simulation seeds.
fast:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --locked --workspace --lib --bins
    cargo test --locked --test architecture
    cargo test --locked -p projections --test frozen
    AEGIS_TEST_SEEDS=200 cargo test --locked -p projections --test simulation

# Everything that must pass before a change lands.
full:
    bash .ci/run

# The tests of one backend: sqlite or mongo.
backend name:
    cargo test --locked --test store -- {{ name }}
    cargo test --locked --test service -- {{ name }}

# Replay one seed of the simulation, step by step.
seed number:
    AEGIS_TEST_SEED={{ number }} cargo test --locked -p projections --test simulation -- --nocapture

# Compare the event store with bare drivers, for example: just bench --only export --seconds 5
bench *arguments:
    cargo run --locked --release -p aegis-bench -- {{ arguments }}

# Measure with more and more users, for example: just scale --users 1000,10000 --store sqlite
scale *arguments:
    cargo build --locked --release
    cargo run --locked --release -p aegis-bench -- scale {{ arguments }}

# Compare the instructions of the hot paths with their baseline; `just instructions renew` replaces it.
instructions action="check":
    cargo run --locked --profile counts -p hot-paths -- {{ action }}
