//! Which addresses may be reached (egress.md § 2). Pure; every connection and every URL is judged here.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who wrote the host decides what it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The operator, in the configuration: public, and loopback, private, shared, unique local.
    Named,
    /// Data: clients, tenants, discovery documents. Public only.
    Foreign,
    /// The program's own constants: the end points for credentials of clouds, and nothing else.
    CloudIdentity,
}

/// Classes of addresses. All but public ones are denied to the foreign reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// `0.0.0.0/8`, `::`.
    Unspecified,
    /// This host.
    Loopback,
    /// RFC 1918.
    Private,
    /// RFC 6598.
    Shared,
    /// RFC 3927, RFC 4291.
    LinkLocal,
    /// Where clouds hand out credentials to whoever asks.
    Metadata,
    /// Of protocols, anycast and translation.
    Protocol,
    /// RFC 5737, RFC 3849, RFC 9637.
    Documentation,
    /// RFC 2544.
    Benchmark,
    /// Groups.
    Multicast,
    /// RFC 1112 class E, broadcast.
    Reserved,
    /// An address of version 4 inside one of version 6: whoever translates it decides where it leads.
    Embedded,
    /// RFC 4193.
    UniqueLocal,
    /// RFC 3879.
    SiteLocal,
    /// RFC 6666.
    Discard,
    /// Everything else outside of `2000::/3`.
    Outside,
    /// An address of this host.
    Own,
    /// `egress.deny`.
    Extra,
}

/// What is known about this host and this deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Addresses of the host's interfaces and of the program's listeners.
    pub own: Vec<IpAddr>,
    /// `egress.deny`.
    pub deny: Vec<IpNet>,
    /// `egress.addresses` of the purpose: ranges of private, shared, loopback and unique local addresses that the
    /// foreign reach may enter. Others cannot be opened at all.
    pub opened: Vec<IpNet>,
}

/// The address, in the one form that may be dialled, or why it is not to be reached.
///
/// # Errors
/// Its class.
pub fn judge(ip: IpAddr, reach: Reach, own: &OwnAddresses) -> Result<IpAddr, AddressClass> {
    // `::ffff:10.0.0.1` reaches 10.0.0.1.
    let ip = ip.to_canonical();
    let class = match ip {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    };
    if reach == Reach::CloudIdentity {
        return match class {
            Some(AddressClass::Metadata) if CREDENTIALS.contains(&ip) => Ok(ip),
            Some(AddressClass::Loopback) => Ok(ip),
            other => Err(other.unwrap_or(AddressClass::Outside)),
        };
    }
    if own.deny.iter().any(|range| range.contains(&ip)) {
        return Err(AddressClass::Extra);
    }
    use AddressClass::{Loopback, Private, Shared, UniqueLocal};
    match class {
        None if own.own.iter().any(|own| own.to_canonical() == ip) => Err(AddressClass::Own),
        None => Ok(ip),
        Some(Loopback | Private | Shared | UniqueLocal)
            if reach == Reach::Named || own.opened.iter().any(|range| range.contains(&ip)) =>
        {
            Ok(ip)
        }
        Some(class) => Err(class),
    }
}

/// Addresses of the host's interfaces; none where they cannot be read.
pub fn interfaces() -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    found.iter().map(|interface| interface.ip().to_canonical()).collect()
}

/// Where the clouds' own programs fetch credentials.
const CREDENTIALS: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

fn class_v4(ip: Ipv4Addr) -> Option<AddressClass> {
    use AddressClass as C;
    Some(match ip.octets() {
        // 168.63.129.16 is public by its range, and Azure's inside.
        [168, 63, 129, 16]
        | [100, 100, 100, 200]
        | [192, 0, 0, 192]
        | [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23] => C::Metadata,
        [0, ..] => C::Unspecified,
        [127, ..] => C::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => C::Private,
        [100, 64..=127, ..] => C::Shared,
        [169, 254, ..] => C::LinkLocal,
        [192, 0, 0, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] | [192, 88, 99, _] => {
            C::Protocol
        }
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => C::Documentation,
        [198, 18..=19, ..] => C::Benchmark,
        [224..=239, ..] => C::Multicast,
        [240..=255, ..] => C::Reserved,
        _ => return None,
    })
}

fn class_v6(ip: Ipv6Addr) -> Option<AddressClass> {
    use AddressClass as C;
    Some(match ip.segments() {
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254 | 0x23] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => C::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => C::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => C::Loopback,
        // IPv4-compatible, SIIT, NAT64, 6to4, ISATAP.
        [0, 0, 0, 0, 0, 0, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 1, ..]
        | [0x2002, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => C::Embedded,
        [first, ..] if first & 0xff00 == 0xff00 => C::Multicast,
        [first, ..] if first & 0xffc0 == 0xfe80 => C::LinkLocal,
        [first, ..] if first & 0xffc0 == 0xfec0 => C::SiteLocal,
        [first, ..] if first & 0xfe00 == 0xfc00 => C::UniqueLocal,
        [0x100, 0, 0, 0, ..] => C::Discard,
        [0x2001, second, ..] if second < 0x200 => C::Protocol,
        [0x2620, 0x4f, 0x8000, ..] | [0x5f00, ..] => C::Protocol,
        [0x2001, 0xdb8, ..] => C::Documentation,
        [0x3fff, second, ..] if second < 0x1000 => C::Documentation,
        [first, ..] if first & 0xe000 != 0x2000 => C::Outside,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, reach: Reach) -> Result<IpAddr, AddressClass> {
        judge(text.parse().unwrap(), reach, &OwnAddresses::default())
    }

    #[test]
    fn first_last_and_neighbouring_addresses_of_each_range() {
        use AddressClass as C;
        // Range, class, and whether the neighbours on both sides are public.
        for (first, last, class, before, after) in [
            ("0.0.0.0", "0.255.255.255", C::Unspecified, None, Some("1.0.0.0")),
            ("127.0.0.0", "127.255.255.255", C::Loopback, Some("126.255.255.255"), Some("128.0.0.0")),
            ("10.0.0.0", "10.255.255.255", C::Private, Some("9.255.255.255"), Some("11.0.0.0")),
            ("172.16.0.0", "172.31.255.255", C::Private, Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.168.0.0", "192.168.255.255", C::Private, Some("192.167.255.255"), Some("192.169.0.0")),
            ("100.64.0.0", "100.127.255.255", C::Shared, Some("100.63.255.255"), Some("100.128.0.0")),
            ("169.254.0.0", "169.254.255.255", C::LinkLocal, Some("169.253.255.255"), Some("169.255.0.0")),
            ("168.63.129.16", "168.63.129.16", C::Metadata, Some("168.63.129.15"), Some("168.63.129.17")),
            ("100.100.100.200", "100.100.100.200", C::Metadata, None, None),
            ("192.0.0.192", "192.0.0.192", C::Metadata, None, None),
            ("169.254.169.254", "169.254.169.254", C::Metadata, None, None),
            ("169.254.170.2", "169.254.170.2", C::Metadata, None, None),
            ("169.254.170.23", "169.254.170.23", C::Metadata, None, None),
            ("192.0.0.0", "192.0.0.255", C::Protocol, Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.31.196.0", "192.31.196.255", C::Protocol, Some("192.31.195.255"), Some("192.31.197.0")),
            ("192.52.193.0", "192.52.193.255", C::Protocol, Some("192.52.192.255"), Some("192.52.194.0")),
            ("192.175.48.0", "192.175.48.255", C::Protocol, Some("192.175.47.255"), Some("192.175.49.0")),
            ("192.88.99.0", "192.88.99.255", C::Protocol, Some("192.88.98.255"), Some("192.88.100.0")),
            ("192.0.2.0", "192.0.2.255", C::Documentation, Some("192.0.1.255"), Some("192.0.3.0")),
            ("198.51.100.0", "198.51.100.255", C::Documentation, Some("198.51.99.255"), Some("198.51.101.0")),
            ("203.0.113.0", "203.0.113.255", C::Documentation, Some("203.0.112.255"), Some("203.0.114.0")),
            ("198.18.0.0", "198.19.255.255", C::Benchmark, Some("198.17.255.255"), Some("198.20.0.0")),
            ("224.0.0.0", "239.255.255.255", C::Multicast, Some("223.255.255.255"), None),
            ("240.0.0.0", "255.255.255.255", C::Reserved, None, None),
            ("::", "::", C::Unspecified, None, None),
            ("::1", "::1", C::Loopback, None, None),
            ("::2", "::fffe:ffff", C::Embedded, None, None),
            ("::ffff:0:0:0", "::ffff:0:ffff:ffff", C::Embedded, None, None),
            ("64:ff9b::", "64:ff9b::ffff:ffff", C::Embedded, None, None),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", C::Embedded, None, None),
            (
                "2002::",
                "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                C::Embedded,
                Some("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                Some("2003::"),
            ),
            (
                "2a00:1:2:3:0:5efe::",
                "2a00:1:2:3:0:5efe:ffff:ffff",
                C::Embedded,
                Some("2a00:1:2:3:0:5efd:ffff:ffff"),
                Some("2a00:1:2:3:0:5eff::"),
            ),
            (
                "2a00:1:2:3:200:5efe::",
                "2a00:1:2:3:200:5efe:ffff:ffff",
                C::Embedded,
                Some("2a00:1:2:3:201:5efe::"),
                None,
            ),
            ("fd00:ec2::254", "fd00:ec2::254", C::Metadata, None, None),
            ("fd00:ec2::23", "fd00:ec2::23", C::Metadata, None, None),
            ("fd20:ce::254", "fd20:ce::254", C::Metadata, None, None),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::UniqueLocal, None, None),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::LinkLocal, None, None),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::SiteLocal, None, None),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::Multicast, None, None),
            ("100::", "100::ffff:ffff:ffff:ffff", C::Discard, None, None),
            ("100:0:0:1::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::Outside, None, Some("2000::")),
            ("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::Outside, Some("3fff:1000::"), None),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", C::Protocol, None, None),
            (
                "2001::",
                "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
                C::Protocol,
                Some("2000:ffff::"),
                Some("2001:200::"),
            ),
            (
                "2620:4f:8000::",
                "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
                C::Protocol,
                Some("2620:4f:7fff::"),
                Some("2620:4f:8001::"),
            ),
            (
                "2001:db8::",
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                C::Documentation,
                Some("2001:db7::"),
                Some("2001:db9::"),
            ),
            (
                "3fff::",
                "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
                C::Documentation,
                Some("3ffe:ffff::"),
                Some("3fff:1000::"),
            ),
        ] {
            for inside in [first, last] {
                assert_eq!(of(inside, Reach::Foreign), Err(class), "{inside}");
                let named = matches!(class, C::Loopback | C::Private | C::Shared | C::UniqueLocal);
                assert_eq!(of(inside, Reach::Named).is_ok(), named, "{inside}");
            }
            for public in before.into_iter().chain(after) {
                assert!(of(public, Reach::Foreign).is_ok(), "{public}");
            }
        }
    }

    #[test]
    fn one_verdict_for_every_way_of_writing_an_address() {
        for (mapped, plain) in [
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::ffff:7f00:1", "127.0.0.1"),
            ("0:0:0:0:0:ffff:a9fe:a9fe", "169.254.169.254"),
            ("::ffff:8.8.8.8", "8.8.8.8"),
        ] {
            for reach in [Reach::Foreign, Reach::Named, Reach::CloudIdentity] {
                assert_eq!(of(mapped, reach), of(plain, reach), "{mapped}");
            }
        }
        assert_eq!(of("::ffff:8.8.8.8", Reach::Foreign), Ok("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn what_is_opened_closed_and_our_own() {
        let own = OwnAddresses {
            own: vec!["198.41.0.4".parse().unwrap(), "10.1.1.1".parse().unwrap()],
            deny: vec!["9.9.9.0/24".parse().unwrap(), "10.20.9.0/24".parse().unwrap()],
            opened: vec!["10.20.0.0/16".parse().unwrap(), "169.254.0.0/16".parse().unwrap()],
        };
        let judge = |text: &str, reach| judge(text.parse().unwrap(), reach, &own).err();
        use AddressClass as C;
        assert_eq!(judge("198.41.0.4", Reach::Foreign), Some(C::Own));
        assert_eq!(judge("198.41.0.4", Reach::Named), Some(C::Own));
        assert_eq!(judge("10.1.1.1", Reach::Named), None);
        assert_eq!(judge("10.20.0.1", Reach::Foreign), None);
        assert_eq!(judge("10.20.9.1", Reach::Foreign), Some(C::Extra));
        assert_eq!(judge("9.9.9.9", Reach::Named), Some(C::Extra));
        assert_eq!(judge("10.21.0.1", Reach::Foreign), Some(C::Private));
        // Opening a range of metadata addresses opens nothing.
        assert_eq!(judge("169.254.169.254", Reach::Foreign), Some(C::Metadata));
        assert_eq!(judge("169.254.1.1", Reach::Foreign), Some(C::LinkLocal));
    }

    #[test]
    fn credentials_of_clouds_are_reached_by_nothing_else() {
        for ip in CREDENTIALS {
            let own = OwnAddresses::default();
            assert!(judge(ip, Reach::CloudIdentity, &own).is_ok());
            assert!(judge(ip, Reach::Named, &own).is_err() && judge(ip, Reach::Foreign, &own).is_err());
        }
        for other in ["8.8.8.8", "10.0.0.1", "168.63.129.16", "100.100.100.200", "169.254.1.1"] {
            assert!(of(other, Reach::CloudIdentity).is_err(), "{other}");
        }
    }
}
