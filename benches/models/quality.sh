#!/bin/sh
# Ranking quality on Gowalla (LightGCN split) at the documented settings: recall@20, ndcg@20 and seconds.
#
#     TASTEMAKER_DATA=… benches/models/quality.sh            # about five minutes on two idle cores
set -eu
cd "$(dirname "$0")/../.."
run() {
    echo "$*"
    cargo run --quiet --release -p tastemaker-models --example gowalla -- "$@"
}
run model=als rank=64 iterations=6 alpha=0.01 lambda=0.006
run model=als rank=256 iterations=6 alpha=0.02 lambda=0.006
run model=svd rank=512 iterations=5
