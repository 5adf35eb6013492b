# The front door; the logic lives in xtask.

_default:
    @just --list

# attacks and honest calls against the example shop, directly and through the gate
demo *options:
    cargo run --release -- demo {{options}}

# all tests, as the continuous integration runs them
test:
    cargo xtask test

# the tests whose name contains FILTER
only FILTER:
    cargo xtask test {{FILTER}}

# format everything
fmt:
    cargo fmt --all

# lints, warnings are errors
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# floors, banned dependencies, text rules, links
tidy:
    cargo xtask tidy

# write the JSON Schema of the configuration anew
schema:
    cargo xtask schema

# compare with nginx, HAProxy and Envoy
bench *options:
    cargo xtask bench {{options}}

# other people's clients and issuers against the program
conformance:
    cargo xtask conformance

# licences and advisories of the dependencies
deny:
    cargo deny check

# build the book
book:
    mdbook build docs

# the vulnerable shop on its own, on loopback
shop:
    cargo run --package portcullis-shop
