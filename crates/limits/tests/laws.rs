//! The laws of limits.md § 7, in memory.
#![expect(clippy::unwrap_used, reason = "tests")]

use portcullis_limits::{Ask, Bucket, Layer, Outcome, Rate, Table, Verdict, Window, header};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

const START: i64 = 1_770_000_000_000_000;
const SECOND: i64 = 1_000_000;

fn bucket(layer: Layer, scope: &str, windows: &[(&str, u32)]) -> Bucket {
    let windows: Vec<_> = windows
        .iter()
        .map(|(rate, burst)| Window { rate: rate.parse().unwrap(), burst: Some(*burst) })
        .collect();
    Bucket::new(layer, scope, &windows, false).unwrap()
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn ask<'a>(table: &Table, bucket: &'a Bucket, client: u64, cost: u32) -> Ask<'a> {
    Ask { bucket, key: table.key(bucket, &[&client.to_le_bytes()]), cost }
}

/// Token buckets as exact fractions over the period: another algorithm than the one under test.
#[derive(Default)]
struct Model {
    last: i128,
    levels: HashMap<(usize, usize, u64), (i128, i128)>, // (bucket, window, client) → (tokens × period, at)
}

/// Bucket's index, bucket, client, cost.
type ModelAsk<'a> = (usize, &'a Bucket, u64, u32);

impl Model {
    /// All layers or none; the exact wait otherwise.
    fn decide(&mut self, now: i64, asks: &[ModelAsk<'_>]) -> (bool, i128, Vec<(bool, i128)>) {
        self.last = self.last.max(i128::from(now));
        let now = self.last;
        let (mut wait, mut refused, mut rows, mut commits) = (0, false, Vec::new(), Vec::new());
        for (id, bucket, client, cost) in asks {
            for (w, (_, rate, burst)) in bucket.windows().enumerate() {
                let (limit, period) = (i128::from(rate.limit()), i128::from(rate.period_us()));
                let full = i128::from(burst) * period;
                let (level, at) = *self.levels.get(&(*id, w, *client)).unwrap_or(&(full, now));
                let level = (level + (now - at) * limit).min(full);
                let need = i128::from(*cost) * period;
                let fits = level >= need;
                if !fits && !bucket.is_shadow() {
                    refused = true;
                    wait = wait.max((need - level + limit - 1).div_euclid(limit));
                }
                commits.push(((*id, w, *client), if fits { level - need } else { level }));
                rows.push((fits, level.div_euclid(period), (level - need).div_euclid(period)));
            }
        }
        if !refused {
            for (key, level) in commits {
                self.levels.insert(key, (level, now));
            }
        }
        let rows = rows
            .into_iter()
            .map(|(fits, before, after)| (fits, if refused || !fits { before } else { after }));
        (!refused, wait, rows.collect())
    }
}

#[test]
fn equals_the_exact_model_over_all_layers() {
    let buckets = [
        bucket(Layer::Global, "", &[("10000/s", 10_000)]),
        bucket(Layer::Address, "", &[("30/min", 30)]),
        bucket(Layer::AddressWide, "", &[("480/min", 480)]),
        bucket(Layer::Key, "", &[("10/s", 10), ("600/min", 100), ("10000/day", 5_000)]),
        bucket(Layer::Key, "shop/pay", &[("7/s", 3)]),
        bucket(Layer::User, "", &[("97/min", 20)]),
        bucket(Layer::Endpoint, "shop/pay", &[("5/min", 5)]),
        bucket(Layer::Tenant, "", &[("99991/month", 400)]),
        bucket(Layer::User, "watched", &[("3/min", 2)]).shadow(true),
    ];
    let table = Table::new(0, [42; 16]);
    let mut model = Model::default();
    let mut seed = 0x2545_f491_4f6c_dd1d;
    let mut now = START;
    let (mut decisions, mut refusals, mut backwards) = (0_u32, 0_u32, 0_u32);
    let mut again: Option<(Vec<ModelAsk<'_>>, i64)> = None;
    while decisions < 150_000 {
        // After a refusal: one microsecond too early, then in time.
        let (asks, expect) = match again.take() {
            Some((asks, at)) if now == at - 1 => {
                now = at;
                (asks, Some(true))
            }
            Some((asks, at)) => {
                now = at - 1;
                again = Some((asks.clone(), at));
                (asks, Some(false))
            }
            None => {
                now += match random(&mut seed) % 8 {
                    0 => 0,
                    1 => 1,
                    2 => (random(&mut seed) % 20_000) as i64,
                    3 if random(&mut seed).is_multiple_of(50) => (random(&mut seed) % 100_000_000) as i64,
                    _ => (random(&mut seed) % 3_000) as i64,
                };
                let mut asks = Vec::new();
                for (id, bucket) in buckets.iter().enumerate() {
                    if random(&mut seed).is_multiple_of(2) {
                        let client = if id == 0 { 0 } else { random(&mut seed) % 40 };
                        let cost = if random(&mut seed).is_multiple_of(4) {
                            1 + (random(&mut seed) % 3) as u32
                        } else {
                            1
                        };
                        asks.push((id, bucket, client, cost.min(bucket.max_cost())));
                    }
                }
                (asks, None)
            }
        };
        // Sometimes the clock of this thread is behind.
        let shown = if expect.is_none() && random(&mut seed).is_multiple_of(10) {
            backwards += 1;
            now - (random(&mut seed) % 5_000_000) as i64
        } else {
            now
        };
        let list: Vec<_> = asks.iter().map(|(_, b, client, cost)| ask(&table, b, *client, *cost)).collect();
        let got = table.decide(shown, &list);
        let (admitted, wait, rows) = model.decide(shown, &asks);
        assert_eq!(got.admitted(), admitted, "decision {decisions}");
        for (d, (fits, remaining)) in got.decisions().iter().zip(&rows) {
            assert_eq!((d.admitted, i128::from(d.remaining)), (*fits, *remaining), "decision {decisions}");
            assert!(!d.degraded);
        }
        if let Some(expect) = expect {
            assert_eq!(admitted, expect, "at the exact wait");
        }
        if let Outcome::Refused { retry_after_us } = got.outcome {
            assert_eq!(i128::from(retry_after_us), wait);
            if expect.is_none() {
                refusals += 1;
                // The table's time, not this thread's.
                let at = i64::try_from(model.last + wait).unwrap();
                now = at - 2;
                again = Some((asks, at));
            }
        }
        decisions += 1;
    }
    assert!(refusals > 5_000, "{refusals}");
    println!(
        "{decisions} decisions equal to the exact model; {refusals} refusals exact at w-1 and w; {backwards} readings of the clock behind"
    );
}

#[test]
fn two_thousand_at_once_on_a_budget_of_a_hundred() {
    let table = Table::new(0, [1; 16]);
    let buckets = [
        bucket(Layer::Global, "", &[("10000/s", 10_000)]),
        bucket(Layer::Key, "", &[("600/min", 100)]),
        bucket(Layer::User, "", &[("6000/min", 1_000)]),
        bucket(Layer::Endpoint, "op", &[("5000/min", 500)]),
        bucket(Layer::Tenant, "", &[("1000000/month", 4_000)]),
    ];
    for round in 0..50_u64 {
        let admitted = AtomicU32::new(0);
        let gate = std::sync::Barrier::new(8);
        std::thread::scope(|s| {
            for thread in 0..8_u64 {
                let (table, buckets, admitted, gate) = (&table, &buckets, &admitted, &gate);
                s.spawn(move || {
                    gate.wait();
                    for i in 0..250 {
                        // Everybody shares the key; the order of the layers differs.
                        let mut asks: Vec<_> = buckets.iter().map(|b| ask(table, b, round, 1)).collect();
                        asks.rotate_left((thread + i) as usize % 5);
                        if table.decide(START, &asks).admitted() {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.load(Ordering::Relaxed), 100, "round {round}");
        for (b, left) in buckets.iter().zip([None, Some(0), Some(900), Some(400), Some(3_900)]) {
            if let Some(left) = left {
                let look = table.decide(START, &[ask(&table, b, round, 0)]);
                assert_eq!(look.decisions()[0].remaining, left, "what was refused burnt nothing");
            }
        }
    }
}

#[test]
fn a_refused_request_burns_nothing() {
    let table = Table::new(0, [2; 16]);
    let tight = bucket(Layer::Endpoint, "", &[("1/min", 1)]);
    let wide = bucket(Layer::User, "", &[("100/min", 100), ("1000/day", 1_000)]);
    let left = |b: &Bucket| -> Vec<u32> {
        table.decide(START, &[ask(&table, b, 5, 0)]).decisions().iter().map(|d| d.remaining).collect()
    };
    assert!(table.decide(START, &[ask(&table, &wide, 5, 1), ask(&table, &tight, 5, 1)]).admitted());
    assert_eq!(left(&wide), [99, 999]);
    for _ in 0..1_000 {
        let verdict = table.decide(START, &[ask(&table, &wide, 5, 1), ask(&table, &tight, 5, 1)]);
        assert_eq!(verdict.outcome, Outcome::Refused { retry_after_us: 60_000_000 });
        let violated: Vec<_> = verdict.violated().map(|d| d.name.as_str().to_owned()).collect();
        assert_eq!(violated, ["endpoint"]);
        assert_eq!(verdict.decisions()[0].remaining, 99, "what stays is what is shown");
    }
    assert_eq!(left(&wide), [99, 999]);
}

#[test]
fn the_same_counter_twice_in_one_request() {
    let table = Table::new(0, [3; 16]);
    let b = bucket(Layer::Key, "", &[("10/min", 10)]);
    let twice = [ask(&table, &b, 1, 1), ask(&table, &b, 1, 1)];
    let admitted = (0..20).filter(|_| table.decide(START, &twice).admitted()).count();
    assert_eq!(admitted, 5);
}

#[test]
fn a_cost_above_the_burst_never_waits() {
    let table = Table::new(0, [4; 16]);
    let b = bucket(Layer::Key, "", &[("600/min", 10)]);
    let verdict = table.decide(START, &[ask(&table, &b, 1, 11)]);
    assert_eq!((verdict.outcome, verdict.retry_after_secs()), (Outcome::TooCostly, None));
    assert_eq!(
        table.decide(START, &[ask(&table, &b, 1, 10)]).outcome,
        Outcome::Admitted,
        "nothing was burnt"
    );
    let shadow = b.shadow(true);
    assert!(table.decide(START, &[ask(&table, &shadow, 1, 11)]).admitted(), "shadow refuses nothing");
}

#[test]
fn strict_window_never_admits_more_than_the_limit_in_any_window() {
    for (limit, burst) in [(30_u32, 29_u32), (30, 10), (30, 1), (7, 3), (97, 50)] {
        for strict in [true, false] {
            let window = Window { rate: Rate::per_minute(limit), burst: Some(burst) };
            let b = Bucket::new(Layer::Key, "", &[window], strict).unwrap();
            let table = Table::new(0, [5; 16]);
            let mut times: Vec<i64> = Vec::new();
            let mut now = START;
            // The greediest client: everything at once, then each as soon as it fits.
            while now < START + 300 * SECOND {
                match table.decide(now, &[ask(&table, &b, 1, 1)]).outcome {
                    Outcome::Admitted => times.push(now),
                    Outcome::Refused { retry_after_us } => now += i64::try_from(retry_after_us).unwrap(),
                    Outcome::TooCostly => panic!(),
                }
            }
            let most = (0..times.len())
                .map(|i| times[i..].iter().take_while(|t| **t <= times[i] + 60 * SECOND).count())
                .max()
                .unwrap();
            // The client's clock has whole microseconds, so with odd rates it is up to one request behind the ideal.
            let ideal = if strict { limit } else { limit + burst } as usize;
            assert!(
                most == ideal || most + 1 == ideal,
                "limit {limit} burst {burst} strict {strict}: {most}"
            );
        }
    }
}

#[test]
fn a_changed_rate_keeps_what_was_spent() {
    let table = Table::new(0, [6; 16]);
    let before = bucket(Layer::Key, "", &[("97/min", 10)]);
    let after = bucket(Layer::Key, "", &[("60/min", 10)]);
    for _ in 0..10 {
        assert!(table.decide(START, &[ask(&table, &before, 1, 1)]).admitted());
    }
    let verdict = table.decide(START, &[ask(&table, &after, 1, 1)]);
    assert!(verdict.admitted(), "ten at 97/min are 6.2 s of debt, six at 60/min");
    assert_eq!(verdict.decisions()[0].remaining, 2);
}

/// Attackers with ten million addresses: memory stays, and nobody who has spent his budget is forgiven.
#[test]
fn ten_million_random_keys() {
    let table = Table::new(0, [8; 16]);
    let global = bucket(Layer::Global, "", &[("1000000/s", 1_000_000)]);
    let flood = bucket(Layer::Address, "", &[("30/min", 30)]);
    let slow = bucket(Layer::User, "", &[("1/day", 3)]);
    let spent = 500_u64;
    for client in 0..spent {
        assert!(table.decide(START, &[ask(&table, &slow, client, 3)]).admitted());
    }
    let bytes = table.memory_bytes();
    let resident = resident();
    let admitted = AtomicU32::new(0);
    std::thread::scope(|s| {
        for thread in 0..2_u64 {
            let (table, flood, global, slow, admitted) = (&table, &flood, &global, &slow, &admitted);
            s.spawn(move || {
                let mut seed = 0x9e37_79b9 + thread;
                for i in 0..5_000_000_i64 {
                    // 100,000 new keys a second from each thread; each is live for 2 s.
                    let now = START + i * 10;
                    let client = random(&mut seed);
                    let mut asks = [ask(table, flood, client, 1), ask(table, global, 0, 1)];
                    if i % 64 == 0 {
                        asks.reverse();
                    }
                    if table.decide(now, asks.get(..if i % 8 == 0 { 2 } else { 1 }).unwrap()).admitted() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                    if i % 10_000 == 0 {
                        let client = random(&mut seed) % spent;
                        assert!(!table.decide(now, &[ask(table, slow, client, 1)]).admitted(), "forgotten");
                    }
                }
            });
        }
    });
    for client in 0..spent {
        let end = START + 60 * SECOND;
        assert!(
            !table.decide(end, &[ask(&table, &slow, client, 1)]).admitted(),
            "client {client} was forgotten"
        );
    }
    let global_left = table.decide(START, &[ask(&table, &global, 0, 0)]);
    assert!(!global_left.decisions()[0].degraded, "the global counter keeps its own slot");
    assert!(table.degraded_total() > 0, "a table this small must have overflowed");
    assert_eq!(table.memory_bytes(), bytes);
    let grown = self::resident().saturating_sub(resident);
    assert!(grown < 64 << 20, "resident memory grew by {grown} bytes");
    println!(
        "10,000,000 keys: {bytes} bytes of table, resident +{grown}, {} admitted, {} degraded",
        admitted.load(Ordering::Relaxed),
        table.degraded_total()
    );
}

/// With every slot live, sharing makes limits stricter, never looser; also when keys get slots of their own again.
#[test]
fn a_full_table_is_stricter_never_looser() {
    let table = Table::new(0, [9; 16]);
    let b = bucket(Layer::Key, "", &[("60/min", 5)]);
    let clients = 60_000_u64;
    let mut levels = vec![(5 * 60_000_000_i64, START); clients as usize];
    let mut seed = 77;
    let (mut admitted, mut stricter) = (0_u32, 0_u32);
    for i in 0..600_000_i64 {
        // Bursts of 200,000 decisions within 2 s, then a rest in which some keys expire.
        let now = START + i * 10 + (i / 200_000) * 3 * SECOND;
        let client = random(&mut seed) % clients;
        let (level, at) = levels[client as usize];
        let level = (level + (now - at) * 60).min(5 * 60_000_000);
        let may = level >= 60_000_000;
        let got = table.decide(now, &[ask(&table, &b, client, 1)]).admitted();
        assert!(may || !got, "looser than the limit at {i}");
        stricter += u32::from(may && !got);
        admitted += u32::from(got);
        levels[client as usize] = (if got { level - 60_000_000 } else { level }, now);
    }
    assert!(table.degraded_total() > 1_000 && stricter > 0 && admitted > 100_000);
}

#[test]
fn header_fields_are_structured_fields() {
    use sfv::{BareItem, List, ListEntry, Parser};
    let table = Table::new(0, [10; 16]);
    let buckets = [
        bucket(Layer::Global, "", &[("10000/s", 10_000)]),
        bucket(Layer::Address, "", &[("30/min", 30)]),
        bucket(Layer::Key, "", &[("600/min", 100), ("100000/day", 1_000)]),
        bucket(Layer::User, "", &[("60/min", 3)]),
        bucket(Layer::Endpoint, "", &[("5/min", 5)]).named("pay").unwrap(),
        bucket(Layer::Tenant, "", &[("1/s", 1)]).shadow(true),
    ];
    let decide = |cost: u32| -> Verdict {
        table.decide(
            START,
            &buckets.iter().map(|b| ask(&table, b, 1, cost.min(b.max_cost()))).collect::<Vec<_>>(),
        )
    };
    let read = |text: &str| -> Vec<(String, Vec<(String, i64)>)> {
        let list: List = Parser::new(text).parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        list.iter()
            .map(|entry| {
                let ListEntry::Item(item) = entry else { panic!("{text}") };
                let BareItem::String(name) = &item.bare_item else { panic!("{text}") };
                let params = item.params.iter().map(|(k, v)| match v {
                    BareItem::Integer(n) => (k.as_str().to_owned(), i64::from(*n)),
                    _ => panic!("{text}"),
                });
                (name.as_str().to_owned(), params.collect())
            })
            .collect()
    };
    let pair = |a: &str, x: i64, b: &str, y: i64| vec![(a.to_owned(), x), (b.to_owned(), y)];

    let first = decide(1);
    assert!(first.admitted());
    let mut policy = String::with_capacity(256);
    assert!(header::policy(&mut policy, header::shown(first.decisions(), true)));
    assert_eq!(
        read(&policy),
        [
            ("key".to_owned(), pair("q", 600, "w", 60)),
            ("key-2".to_owned(), pair("q", 100_000, "w", 86_400)),
            ("user".to_owned(), pair("q", 60, "w", 60)),
            ("pay".to_owned(), pair("q", 5, "w", 60)),
        ]
    );
    let mut state = String::with_capacity(256);
    assert!(header::state(&mut state, header::shown(first.decisions(), true)));
    assert_eq!(
        read(&state),
        [
            ("key".to_owned(), pair("r", 99, "t", 10)),     // 9.9 s
            ("key-2".to_owned(), pair("r", 999, "t", 864)), // 863.136 s
            ("user".to_owned(), pair("r", 2, "t", 2)),
            ("pay".to_owned(), pair("r", 4, "t", 48)),
        ]
    );
    assert!(policy.capacity() == 256 && state.capacity() == 256, "nothing was allocated");
    let legacy = header::legacy(header::shown(first.decisions(), true)).unwrap();
    assert_eq!((legacy.limit, legacy.remaining, legacy.reset_secs), (60, 2, 1));

    // A stranger sees the address layer, and nothing else is his.
    let mut anonymous = String::new();
    header::policy(&mut anonymous, header::shown(&first.decisions()[..2], false));
    assert_eq!(anonymous, "\"address\";q=30;w=60");
    let mut nothing = String::new();
    assert!(
        !header::policy(&mut nothing, header::shown(&first.decisions()[..1], false)) && nothing.is_empty()
    );

    assert!(decide(1).admitted() && decide(1).admitted());
    let refused = decide(1);
    assert_eq!(refused.outcome, Outcome::Refused { retry_after_us: SECOND as u64 });
    assert_eq!(refused.retry_after_secs(), Some(1));
    assert_eq!(refused.violated().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["user"]);
    assert_eq!(refused.shadowed().count(), 1);
    state.clear();
    header::state(&mut state, header::shown(refused.decisions(), true));
    assert!(read(&state).contains(&("user".to_owned(), pair("r", 0, "t", 1))), "{state}");
    let legacy = header::legacy(header::shown(refused.decisions(), true)).unwrap();
    assert_eq!((legacy.limit, legacy.remaining, legacy.reset_secs), (60, 0, 3));
}

/// Resident bytes of this process, where the system tells.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
