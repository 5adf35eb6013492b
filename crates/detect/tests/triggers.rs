//! Each trigger at its exact boundary, under a clock that is only a number.
#![expect(clippy::indexing_slicing, reason = "a test")]

use std::net::{IpAddr, Ipv4Addr};

use portcullis_core::time::Now;
use portcullis_detect::engine::Schedule;
use portcullis_detect::event::{Authentication, ObjectSeen};
use portcullis_detect::{Alert, Engine, Entity, Event, Settings, Severity, Subtype, Trigger};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// A Monday, at midnight UTC.
const START: i64 = 1_770_595_200 * SECOND;

struct World {
    engine: Engine,
    alerts: Vec<Alert>,
    count: u128,
}

impl World {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        Self { engine: Engine::new(settings), alerts: Vec::new(), count: 0 }
    }

    /// Steps one event, `at` microseconds after the start.
    fn step(&mut self, at: i64, change: impl FnOnce(&mut Event)) -> Vec<Alert> {
        self.count += 1;
        let mut event = Event {
            at: Now::from_micros(START + at),
            id: self.count,
            address: address(1),
            user: 0,
            key: 0,
            route: 1,
            status: 200,
            authentication: Authentication::None,
            object: None,
            response_bytes: 100,
            country: [0, 0],
            network: 0,
            ja4: 0,
            limited: false,
            early: false,
        };
        change(&mut event);
        let from = self.alerts.len();
        self.engine.step(&event, &mut self.alerts);
        self.engine.tick(event.at, &mut self.alerts);
        self.alerts[from..].to_vec()
    }

    fn of(&self, trigger: Trigger) -> Vec<&Alert> {
        self.alerts.iter().filter(|alert| alert.trigger == trigger).collect()
    }
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))
}

fn failed(event: &mut Event) {
    event.authentication = Authentication::Failed;
    event.status = 401;
}

#[test]
fn t1_the_eleventh_failure_within_300_seconds_fires_and_one_microsecond_later_does_not() {
    for (last, fires) in [(300 * SECOND - 1, true), (300 * SECOND, false)] {
        let mut world = World::new();
        for at in 0..10 {
            let fired = world.step(at, failed);
            assert!(fired.iter().all(|alert| alert.trigger != Trigger::CredentialAttack), "ten are allowed");
        }
        let fired = world.step(last, failed);
        let fired: Vec<_> = fired.iter().filter(|alert| alert.trigger == Trigger::CredentialAttack).collect();
        assert_eq!(fired.len(), usize::from(fires), "{last}");
        if let Some(alert) = fired.first() {
            assert_eq!(alert.entity, Entity::Address(address(1)));
            assert_eq!(alert.traces.len(), 5);
        }
    }
}

#[test]
fn t1_fires_once_and_again_only_after_its_cool_down() {
    let mut world = World::new();
    for at in 0..900 {
        world.step(at * SECOND, failed);
    }
    assert_eq!(world.of(Trigger::CredentialAttack).len(), 1);
    for at in 900..930 {
        world.step(at * SECOND, failed);
    }
    assert_eq!(world.of(Trigger::CredentialAttack).len(), 2);
}

#[test]
fn t1_slow_tiers_catch_those_who_wait() {
    let mut world = World::new();
    // One every 100 seconds: never eleven in five minutes, thirty-six in an hour.
    for at in 0..31 {
        world.step(at * 100 * SECOND, failed);
    }
    let fired = world.of(Trigger::CredentialAttack);
    assert_eq!((fired.len(), fired[0].subtype), (1, Some(Subtype::Slow)));
    let mut world = World::new();
    // One every ten minutes: six in an hour, a hundred and one in seventeen hours.
    for at in 0..101 {
        world.step(at * 10 * MINUTE, failed);
    }
    assert_eq!(world.of(Trigger::CredentialAttack).len(), 1);
    let mut world = World::new();
    for at in 0..96 {
        world.step(at * 15 * MINUTE, failed);
    }
    assert!(world.of(Trigger::CredentialAttack).is_empty(), "ninety-six a day are allowed");
}

#[test]
fn t1_subtypes_say_which_attack_it_is() {
    let mut stuffing = World::new();
    for at in 0..11 {
        stuffing.step(at, |event| {
            failed(event);
            event.user = 100 + at as u64;
        });
    }
    assert_eq!(stuffing.of(Trigger::CredentialAttack)[0].subtype, Some(Subtype::Stuffing));

    let mut spraying = World::new();
    for at in 0..11 {
        spraying.step(at, |event| {
            failed(event);
            event.user = 7;
            event.address = address(at as u8);
        });
    }
    let fired = spraying.of(Trigger::CredentialAttack);
    assert_eq!((fired[0].subtype, fired[0].entity), (Some(Subtype::Spraying), Entity::User(7)));

    let mut distributed = World::new();
    for at in 0..21 {
        let fired = distributed.step(at, |event| {
            failed(event);
            event.user = 1_000 + at as u64;
            event.address = address(at as u8);
        });
        assert_eq!(fired.iter().any(|alert| alert.subtype == Some(Subtype::Distributed)), at == 20, "{at}");
    }
}

#[test]
fn t1_a_success_clears_the_user_and_never_the_address() {
    let mut world = World::new();
    for at in 0..10 {
        world.step(at, |event| {
            failed(event);
            event.user = 7;
        });
    }
    world.step(10, |event| {
        event.authentication = Authentication::Succeeded;
        event.user = 7;
    });
    let fired = world.step(11, |event| {
        failed(event);
        event.user = 7;
    });
    assert_eq!(fired.len(), 1, "only the address");
    assert_eq!(fired[0].entity, Entity::Address(address(1)));
    let after = world.step(12, |event| {
        event.authentication = Authentication::Succeeded;
        event.user = 8;
    });
    assert_eq!((after[0].subtype, after[0].severity), (Some(Subtype::SuccessAfter), Severity::Critical));
}

/// Twenty calm minutes of one caller: nothing is usually refused.
fn calm(world: &mut World, key: u64) {
    for at in 0..200 {
        world.step(at * 6 * SECOND, |event| {
            event.key = key;
            event.route = 1_000 + key as u32;
            event.address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + key as u32));
        });
    }
}

#[test]
fn t2_ten_refusals_that_are_a_tenth_fire_and_nine_do_not() {
    for (refusals, fires) in [(9, false), (10, true)] {
        let mut world = World::new();
        calm(&mut world, 7);
        for at in 0..refusals {
            world.step(30 * MINUTE + at, |event| {
                event.key = 7;
                event.status = 403;
            });
        }
        let fired = world.of(Trigger::RefusalRise).iter().any(|alert| alert.entity == Entity::Principal(7));
        assert_eq!(fired, fires, "{refusals}");
    }
}

#[test]
fn t2_a_share_below_the_threshold_is_silent() {
    let mut world = World::new();
    calm(&mut world, 7);
    for at in 0..200 {
        world.step(30 * MINUTE + at * SECOND, |event| {
            event.key = 7;
            event.status = if at % 15 == 0 { 403 } else { 200 };
        });
    }
    assert!(world.of(Trigger::RefusalRise).is_empty(), "{:?}", world.alerts);
}

#[test]
fn t2_a_ramp_that_poisons_the_baseline_still_fires() {
    let mut world = World::new();
    let mut fired_at = None;
    // Over two days the share of refusals creeps from nothing to a half.
    for minute in 0..2 * 24 * 60_i64 {
        for at in 0..20 {
            let refused = (at * 2_880) < minute * 10;
            let fired = world.step(minute * MINUTE + at * SECOND, |event| {
                event.key = 7;
                event.status = if refused { 403 } else { 200 };
            });
            if fired.iter().any(|alert| alert.trigger == Trigger::RefusalRise) {
                fired_at.get_or_insert(minute);
            }
        }
    }
    assert!(fired_at.is_some_and(|minute| minute < 2 * 24 * 60 / 2), "{fired_at:?}");
}

#[test]
fn t2_probing_for_the_objects_of_others_has_its_name() {
    let mut world = World::new();
    for at in 0..12_u64 {
        world.step(at as i64 * SECOND, |event| {
            event.key = 7;
            event.status = 403;
            event.object = Some(ObjectSeen { of: 3, hash: at * 977, number: None });
        });
    }
    assert!(
        world.alerts.iter().any(|alert| alert.subtype == Some(Subtype::BolaProbing)),
        "{:?}",
        world.alerts
    );
}

#[test]
fn t2_ids_one_after_the_other_fire_even_when_all_of_them_answer() {
    for (steps, fires) in [(20, false), (21, true)] {
        let mut world = World::new();
        for at in 0..steps {
            world.step(at * SECOND, |event| {
                event.key = 7;
                event.object = Some(ObjectSeen { of: 3, hash: at as u64 + 1, number: Some(1_000 + at) });
            });
        }
        let fired = world.alerts.iter().any(|alert| alert.subtype == Some(Subtype::Enumeration));
        assert_eq!(fired, fires, "{steps} ids are {} steps", steps - 1);
    }
    let mut world = World::new();
    for at in 0..100_i64 {
        world.step(at * SECOND, |event| {
            event.key = 7;
            event.object = Some(ObjectSeen { of: 3, hash: at as u64, number: Some(at * 7_919 % 100_003) });
        });
    }
    assert!(world.alerts.is_empty(), "a caller that jumps about is silent: {:?}", world.alerts);
}

#[test]
fn t2_everybody_at_once_is_one_alert_about_the_service() {
    let mut world = World::new();
    for key in 1..=20 {
        calm(&mut world, key);
    }
    world.alerts.clear();
    let mut out = Vec::new();
    for key in 1..=20_u64 {
        for _ in 0..10 {
            world.count += 1;
            let event = Event {
                at: Now::from_micros(START + 21 * MINUTE),
                id: world.count,
                address: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + key as u32)),
                user: 0,
                key,
                route: 1_000 + key as u32,
                status: 401,
                authentication: Authentication::None,
                object: None,
                response_bytes: 0,
                country: [0, 0],
                network: 0,
                ja4: 0,
                limited: false,
                early: false,
            };
            world.engine.step(&event, &mut out);
        }
    }
    world.engine.tick(Now::from_micros(START + 21 * MINUTE + SECOND), &mut out);
    let principals = out.iter().filter(|alert| matches!(alert.entity, Entity::Principal(_))).count();
    let service = out.iter().filter(|alert| alert.subtype == Some(Subtype::Deployment)).count();
    assert_eq!((principals, service), (0, 1), "{out:?}");
}

fn from(country: &[u8; 2], network: u32) -> impl FnOnce(&mut Event) {
    let country = *country;
    move |event| {
        event.key = 7;
        event.authentication = Authentication::Succeeded;
        event.country = country;
        event.network = network;
        event.ja4 = u64::from(network);
        event.address = address(network as u8);
    }
}

#[test]
fn t3_a_new_country_fires_after_seven_days_and_fifty_successes() {
    for (successes, days, fires) in [(50, 7, true), (49, 7, false), (50, 6, false)] {
        let mut world = World::new();
        for at in 0..successes {
            world.step(at, from(b"DE", 1));
        }
        let fired = world.step(days * DAY, from(b"BR", 9));
        assert_eq!(fired.len(), usize::from(fires), "{successes} successes, {days} days");
        if fires {
            assert_eq!((fired[0].trigger, fired[0].severity), (Trigger::NewCountry, Severity::High));
            assert!(world.step(days * DAY + HOUR, from(b"BR", 9)).is_empty(), "once a day");
        }
    }
}

#[test]
fn t3_failures_private_addresses_and_travellers_are_silent() {
    let mut world = World::new();
    for at in 0..60 {
        world.step(at, from(b"DE", 1));
    }
    let failed = world.step(8 * DAY, |event| {
        from(b"KP", 9)(event);
        event.authentication = Authentication::Failed;
    });
    assert!(failed.is_empty());
    assert!(world.step(8 * DAY, from(&[0, 0], 9)).is_empty());
    assert_eq!(world.step(8 * DAY, from(b"KP", 9)).len(), 1, "the failure taught nothing");
    for day in 9..12 {
        world.step(day * DAY, from(b"KP", 9));
    }
    let after = world.alerts.len();
    world.step(12 * DAY, from(b"KP", 9));
    assert_eq!(world.alerts.len(), after, "three days make it one of the key's");

    let mut world = World::new();
    for (at, country) in [b"DE", b"FR", b"IT", b"ES", b"PT"].into_iter().cycle().take(60).enumerate() {
        world.step(at as i64 * HOUR, from(country, 1));
    }
    assert!(world.step(9 * DAY, from(b"PL", 9)).is_empty());
}

#[test]
fn t3_pinned_countries_hold_from_the_first_request_and_an_acknowledged_one_is_known() {
    let mut settings = Settings::default();
    settings.countries.insert(7, vec![*b"DE"]);
    let mut world = World::with(settings);
    assert!(world.step(0, from(b"DE", 1)).is_empty());
    assert_eq!(world.step(1, from(b"FR", 2)).len(), 1);

    let mut world = World::new();
    for at in 0..60 {
        world.step(at, from(b"DE", 1));
    }
    assert_eq!(world.step(8 * DAY, from(b"BR", 9)).len(), 1);
    world.engine.acknowledge_country(7, *b"BR");
    assert!(world.step(10 * DAY, from(b"BR", 9)).is_empty());
}

#[test]
fn t4_ten_times_the_usual_is_silent_and_more_fires_within_the_error_of_a_bucket() {
    let usual = 16_384_u64;
    for (times, fires) in [(9.0, false), (11.0, true)] {
        let mut world = World::new();
        for at in 0..100 {
            world.step(at, |event| event.response_bytes = usual);
        }
        let fired = world.step(200, |event| event.response_bytes = (usual as f64 * times) as u64);
        assert_eq!(fired.len(), usize::from(fires), "{times} times");
    }
    let mut world = World::new();
    for at in 0..99 {
        world.step(at, |event| event.response_bytes = usual);
    }
    assert!(world.step(200, |event| event.response_bytes = usual * 50).is_empty(), "99 samples are too few");
    let mut world = World::new();
    for at in 0..200 {
        world.step(at, |event| event.response_bytes = 100);
    }
    assert!(world.step(300, |event| event.response_bytes = 65_535).is_empty(), "below 64 KiB");
    assert_eq!(world.step(301, |event| event.response_bytes = 65_536).len(), 1);
}

#[test]
fn t4_paging_through_everything_is_seen_in_the_hour() {
    let mut world = World::new();
    let page = |bytes: u64| {
        move |event: &mut Event| {
            event.key = 7;
            event.response_bytes = bytes;
        }
    };
    for hour in 0..30 {
        for at in 0..20 {
            world.step(hour * HOUR + at * MINUTE, page(50_000));
        }
    }
    assert!(world.alerts.is_empty());
    let mut fired_at = None;
    for at in 0..600 {
        let fired = world.step(31 * HOUR + at * SECOND, page(50_000));
        if fired.iter().any(|alert| alert.subtype == Some(Subtype::Volume)) {
            fired_at.get_or_insert(at);
        }
    }
    // A million bytes an hour is usual: ten million and 10 MiB are passed with the 210th page.
    assert!(fired_at.is_some_and(|at| (205..=215).contains(&at)), "{fired_at:?}");
}

#[test]
fn t4_a_ramp_cannot_double_what_is_usual_in_a_day() {
    let mut world = World::new();
    let mut fired = false;
    for hour in 0..24 * 6_i64 {
        // Grows by a tenth every hour once a day has been learnt: a thousandfold in three days.
        let bytes = 1_000_000.0 * if hour < 48 { 1.0 } else { 1.1_f64.powi(hour as i32 - 48) };
        let alerts = world.step(hour * HOUR + MINUTE, |event| {
            event.key = 7;
            event.response_bytes = bytes as u64;
        });
        fired |= alerts.iter().any(|alert| alert.subtype == Some(Subtype::Volume));
    }
    assert!(fired);
}

#[test]
fn t5_a_schedule_speaks_at_the_first_request_and_knows_summer_time() {
    let office = 0b11_1111_1111_u32 << 8;
    let schedule = Schedule {
        hours: [office, office, office, office, office, 0, 0],
        // Central Europe in 2026: summer time from 29 March to 25 October.
        offsets: vec![(0, 3_600), (1_774_746_000, 7_200), (1_792_890_000, 3_600)],
        holidays: vec![(START / SECOND + 86_400) / 86_400],
    };
    let mut settings = Settings::default();
    settings.schedules.insert(7, schedule);
    let mut world = World::with(settings);
    let used = |event: &mut Event| {
        event.key = 7;
        event.authentication = Authentication::Succeeded;
    };
    assert!(world.step(7 * HOUR, used).is_empty(), "Monday, eight o'clock in winter");
    assert_eq!(world.step(7 * HOUR - 1, used).len(), 1, "a microsecond before");
    assert_eq!(world.step(DAY + 9 * HOUR, used).len(), 1, "a holiday");
    assert_eq!(world.step(5 * DAY + 9 * HOUR, used).len(), 1, "a Saturday");
    let summer = (1_774_746_000 + 86_400) * SECOND - START;
    let monday = summer - summer.rem_euclid(7 * DAY) + 7 * DAY;
    assert!(world.step(monday + 6 * HOUR, used).is_empty(), "Monday, eight o'clock in summer");
    assert_eq!(world.step(monday + 6 * HOUR - 1, used).len(), 1);
}

/// Weekdays from nine to five, six requests an hour, for `weeks`.
fn office(world: &mut World, weeks: i64) {
    for day in (0..weeks * 7).filter(|day| day % 7 < 5) {
        for hour in 9..17 {
            for at in 0..6 {
                world.step(day * DAY + hour * HOUR + at * 10 * MINUTE, |event| {
                    event.key = 7;
                    event.authentication = Authentication::Succeeded;
                });
            }
        }
    }
}

#[test]
fn t5_hours_that_were_always_empty_fire_at_the_fifth_request() {
    let mut world = World::new();
    office(&mut world, 5);
    assert!(world.alerts.is_empty(), "{:?}", world.alerts);
    let night = 5 * 7 * DAY + 2 * HOUR;
    for at in 0..5 {
        let fired = world.step(night + at * MINUTE, |event| {
            event.key = 7;
            event.authentication = Authentication::Succeeded;
        });
        assert_eq!(fired.len(), usize::from(at == 4), "{at}");
    }
}

#[test]
fn t5_a_change_of_summer_time_and_three_weeks_of_learning_are_silent() {
    let mut world = World::new();
    office(&mut world, 5);
    // The clocks change: everything comes an hour earlier.
    for at in 0..20 {
        world.step(5 * 7 * DAY + 8 * HOUR + at * MINUTE, |event| {
            event.key = 7;
            event.authentication = Authentication::Succeeded;
        });
    }
    assert!(world.alerts.is_empty(), "{:?}", world.alerts);
    let mut world = World::new();
    office(&mut world, 3);
    for at in 0..20 {
        world.step(3 * 7 * DAY + 2 * HOUR + at * MINUTE, |event| {
            event.key = 7;
            event.authentication = Authentication::Succeeded;
        });
    }
    assert!(world.alerts.is_empty());
}

#[test]
fn t6_four_minutes_of_breaches_are_silent_and_five_fire() {
    let breach = |world: &mut World, minute: i64, early: bool| {
        for at in 0..5 {
            world.step(minute * MINUTE + at, |event| {
                event.key = 7;
                event.status = 429;
                event.limited = true;
                event.early = early;
            });
        }
    };
    let mut world = World::new();
    for minute in [0, 2, 4, 6] {
        breach(&mut world, minute, false);
    }
    assert!(world.alerts.is_empty());
    breach(&mut world, 9, false);
    assert_eq!(world.of(Trigger::LimitBreaches).len(), 1);
    assert_eq!(world.alerts[0].subtype, None);

    let mut world = World::new();
    for minute in 0..5 {
        breach(&mut world, minute * 3, false);
    }
    assert!(world.alerts.is_empty(), "five in fifteen minutes");

    let mut world = World::new();
    for minute in 0..5 {
        breach(&mut world, minute, true);
    }
    assert_eq!(world.alerts[0].subtype, Some(Subtype::IgnoresRetryAfter));

    let mut world = World::new();
    for hour in 0..3 {
        breach(&mut world, hour * 5 * 60, false);
    }
    assert_eq!(world.of(Trigger::LimitBreaches).len(), 1, "three hours of a day");
}

#[test]
fn t6_a_busy_caller_that_is_seldom_refused_is_silent() {
    let mut world = World::new();
    for minute in 0..10 {
        for at in 0..100 {
            world.step(minute * MINUTE + at, |event| {
                event.key = 7;
                event.limited = at < 5;
                event.status = if at < 5 { 429 } else { 200 };
            });
        }
    }
    assert!(world.of(Trigger::LimitBreaches).is_empty());
}

#[test]
fn what_fires_while_events_are_lost_says_so() {
    let mut world = World::new();
    world.engine.lost(Now::from_micros(START));
    for at in 0..11 {
        world.step(at, failed);
    }
    assert!(world.alerts.iter().all(|alert| alert.incomplete) && !world.alerts.is_empty());
    let mut world = World::new();
    world.engine.lost(Now::from_micros(START - 5 * MINUTE));
    for at in 0..11 {
        world.step(at, failed);
    }
    assert!(world.alerts.iter().all(|alert| !alert.incomplete));
}

#[test]
fn tables_are_bounded_and_say_what_they_forgot() {
    let mut world = World::with(Settings { capacity: 100, ..Settings::default() });
    for at in 0..1_000_u32 {
        world.step(i64::from(at), |event| {
            event.key = u64::from(at) + 1;
            event.address = IpAddr::V4(Ipv4Addr::from_bits(at));
        });
    }
    assert!(world.engine.evicted() >= 3 * 900, "{}", world.engine.evicted());
    assert!(Some(Severity::Low) < Some(Severity::Critical));
}
