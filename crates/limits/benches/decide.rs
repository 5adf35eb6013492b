//! Nanoseconds per decision at one million live keys, in the default table: `cargo bench -p portcullis-limits`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use portcullis_limits::{Ask, Bucket, DEFAULT_SLOTS, Layer, Table, Window, header};
use std::hint::black_box;
use std::time::Instant;

const LIVE: u64 = 1_000_000;

fn main() {
    let layers = [Layer::Key, Layer::User, Layer::Endpoint, Layer::Tenant, Layer::Address];
    let rate = |layer, burst| {
        let window = Window { rate: "600000/day".parse().unwrap(), burst: Some(burst) };
        Bucket::new(layer, "bench", &[window], false).unwrap()
    };
    let buckets: Vec<Bucket> = layers.into_iter().map(|layer| rate(layer, 600_000)).collect();
    let start = 1_770_000_000_000_000_i64;

    let table = Table::new(DEFAULT_SLOTS, [3; 16]);
    // 200,000 clients with five layers each: one million live keys.
    let clients = LIVE / 5;
    for client in 0..clients {
        let asks = asks(&table, &buckets, client);
        assert!(table.decide(start, &asks).admitted());
        assert!(table.decide(start, &asks).admitted());
    }
    println!(
        "live keys {LIVE}, table {} bytes, degraded while filling {}",
        table.memory_bytes(),
        table.degraded_total()
    );

    // Uniform is the worst there is: every key is a miss of all caches. Skewed: 90 % of requests from 1 % of clients.
    for (what, layers, skewed) in [
        ("one layer, uniform", 1_usize, false),
        ("five layers, uniform", 5, false),
        ("one layer, skewed", 1, true),
        ("five layers, skewed", 5, true),
    ] {
        let mut best = f64::MAX;
        let mut all = Vec::new();
        for round in 0..7_u64 {
            let n = 400_000_u64;
            let mut seed = 0x9e37_79b9_7f4a_7c15 ^ round;
            let begin = Instant::now();
            for i in 0..n {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let asks = asks(&table, buckets.get(..layers).unwrap(), pick(seed, clients, skewed));
                let now = start + (round * n + i) as i64 / 4;
                black_box(table.decide(now, &asks));
            }
            let ns = begin.elapsed().as_nanos() as f64 / n as f64;
            best = best.min(ns);
            all.push(ns);
        }
        all.sort_by(f64::total_cmp);
        println!("{what}, with its keys hashed: median {:.0} ns, best {best:.0} ns", all.get(3).unwrap());
    }

    let mut seed = 7_u64;
    let (n, begin) = (400_000, Instant::now());
    for _ in 0..n {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        black_box(asks(&table, &buckets, seed % clients));
    }
    println!("of which hashing five keys: {:.0} ns", begin.elapsed().as_nanos() as f64 / f64::from(n));

    let verdict = table.decide(start, &asks(&table, &buckets, 1));
    let (mut out, begin) = (String::with_capacity(512), Instant::now());
    for _ in 0..n {
        out.clear();
        header::policy(&mut out, header::shown(verdict.decisions(), true));
        header::state(&mut out, header::shown(verdict.decisions(), true));
        black_box(&out);
    }
    println!("header fields of four policies: {:.0} ns", begin.elapsed().as_nanos() as f64 / f64::from(n));
}

fn pick(seed: u64, clients: u64, skewed: bool) -> u64 {
    let client = (seed >> 8) % clients;
    if skewed && !seed.is_multiple_of(10) { client / 100 } else { client }
}

fn asks<'a>(table: &Table, buckets: &'a [Bucket], client: u64) -> smallvec::SmallVec<[Ask<'a>; 5]> {
    let id = client.to_le_bytes();
    buckets.iter().map(|bucket| Ask { bucket, key: table.key(bucket, &[&id]), cost: 1 }).collect()
}
