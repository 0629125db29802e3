//! Which addresses of a subnet are in use. Pure bookkeeping, no kernel.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wharf_model::error::{Error, Result};
use wharf_model::network::{Subnet, in_block as contains};

/// Subnets larger than this many bits of host part are allocated from their first 2^64 addresses.
const MAX_HOST_BITS: u32 = 64;

/// The addresses of one subnet.
///
/// The next free address after the last one handed out is given, so that a freed address is not reused at
/// once: its old conversations in neighbours' tables and in conntrack get time to end.
#[derive(Debug)]
pub(crate) struct Pool {
    subnet: Subnet,
    /// Offsets from the base.
    used: HashSet<u128>,
    /// First and last offset to allocate from.
    range: (u128, u128),
    last: u128,
}

impl Pool {
    /// A pool with its gateway in use.
    pub(crate) fn new(subnet: &Subnet) -> Result<Self> {
        let bits = if subnet.base.is_ipv4() { 32 } else { 128 };
        let invalid = |why: &str| {
            Err(Error::invalid(format!("invalid subnet {}/{}: {why}", subnet.base, subnet.prefix)))
        };
        if u32::from(subnet.prefix) > bits {
            return invalid("the prefix is longer than the address");
        }
        if subnet.base.is_ipv4() != subnet.gateway.is_ipv4() {
            return invalid("the gateway is of the other address family");
        }
        let size = size(subnet.prefix, bits);
        if !number(subnet.base).is_multiple_of(size) {
            return invalid("the base has bits beyond the prefix");
        }
        if !contains(subnet.base, subnet.prefix, subnet.gateway) {
            return invalid("the gateway is outside");
        }
        let mut range = usable(subnet.base, size);
        if let Some((base, prefix)) = subnet.range {
            if base.is_ipv4() != subnet.base.is_ipv4()
                || prefix < subnet.prefix
                || !contains(subnet.base, subnet.prefix, base)
            {
                return invalid("the range to allocate from is outside");
            }
            let first = number(base) - number(subnet.base);
            let last = first + (self::size(prefix, bits) - 1);
            range = (range.0.max(first), range.1.min(last));
        }
        let gateway = number(subnet.gateway) - number(subnet.base);
        let last = range.0.saturating_sub(1);
        let mut pool = Self { subnet: subnet.clone(), used: HashSet::from([gateway]), range, last };
        for (name, address) in &subnet.auxiliary {
            let of = |e: Error| Error::wrap(e.kind(), format!("auxiliary address {name}"), e);
            pool.take(*address).map_err(of)?;
        }
        Ok(pool)
    }

    /// The subnet of the pool.
    pub(crate) fn subnet(&self) -> &Subnet {
        &self.subnet
    }

    /// Takes the next free address. `Conflict` when there is none.
    pub(crate) fn allocate(&mut self) -> Result<IpAddr> {
        let (first, last) = self.range;
        let span = if first > last { 0 } else { last - first + 1 };
        let mut candidate = self.last;
        // At most one more try than there are used addresses finds a free one.
        for _ in 0..span.min(self.used.len() as u128 + 1) {
            candidate = if candidate < first || candidate >= last { first } else { candidate + 1 };
            if self.used.insert(candidate) {
                self.last = candidate;
                return Ok(self.address(candidate));
            }
        }
        Err(Error::conflict(format!(
            "no available addresses in {}/{}: remove endpoints from the network or give it a larger subnet",
            self.subnet.base, self.subnet.prefix
        )))
    }

    /// Takes a certain address. `Invalid` outside the subnet, `Conflict` when it is in use.
    pub(crate) fn take(&mut self, address: IpAddr) -> Result<()> {
        let Some(offset) = self.offset(address) else {
            return Err(Error::invalid(format!(
                "no configured subnet or ip-range contain the IP address {address}"
            )));
        };
        if self.used.insert(offset) {
            Ok(())
        } else {
            Err(Error::conflict(format!("Address already in use: {address}")))
        }
    }

    /// Frees an address; nothing happens when it is free or elsewhere.
    pub(crate) fn release(&mut self, address: IpAddr) {
        if address == self.subnet.gateway || self.subnet.auxiliary.values().any(|other| *other == address) {
            return;
        }
        if let Some(offset) = self.offset(address) {
            self.used.remove(&offset);
        }
    }

    fn offset(&self, address: IpAddr) -> Option<u128> {
        if address.is_ipv4() != self.subnet.base.is_ipv4() {
            return None;
        }
        let bits = if self.subnet.base.is_ipv4() { 32 } else { 128 };
        let (first, last) = usable(self.subnet.base, size(self.subnet.prefix, bits));
        let offset = number(address).checked_sub(number(self.subnet.base))?;
        (first..=last).contains(&offset).then_some(offset)
    }

    fn address(&self, offset: u128) -> IpAddr {
        let value = number(self.subnet.base) + offset;
        if self.subnet.base.is_ipv4() {
            Ipv4Addr::from_bits(value as u32).into()
        } else {
            Ipv6Addr::from_bits(value).into()
        }
    }
}

/// Whether two blocks share an address.
pub(crate) fn overlap(a: (IpAddr, u8), b: (IpAddr, u8)) -> bool {
    contains(a.0, a.1.min(b.1), b.0)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Addresses in a block, at most 2^64.
fn size(prefix: u8, bits: u32) -> u128 {
    1 << (bits - u32::from(prefix)).min(MAX_HOST_BITS)
}

/// First and last offset that a host may have: not the block's own address and not the broadcast address,
/// save in blocks too small to have them (RFC 3021, RFC 6164).
fn usable(base: IpAddr, size: u128) -> (u128, u128) {
    match (size, base.is_ipv4()) {
        (..=2, _) => (0, size - 1),
        (_, true) => (1, size - 2),
        (_, false) => (1, size - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(base: &str, prefix: u8, gateway: &str) -> Subnet {
        Subnet {
            base: base.parse().unwrap(),
            prefix,
            gateway: gateway.parse().unwrap(),
            range: None,
            auxiliary: Default::default(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn freed_addresses_rest() {
        let mut pool = Pool::new(&subnet("10.0.0.0", 29, "10.0.0.1")).unwrap();
        assert_eq!(pool.allocate().unwrap(), ip("10.0.0.2"));
        pool.release(ip("10.0.0.2"));
        for last in 3..=6 {
            assert_eq!(pool.allocate().unwrap(), ip(&format!("10.0.0.{last}")));
        }
        assert_eq!(pool.allocate().unwrap(), ip("10.0.0.2"));
        assert!(pool.allocate().unwrap_err().to_string().contains("no available addresses"));
        pool.release(ip("10.0.0.5"));
        assert_eq!(pool.allocate().unwrap(), ip("10.0.0.5"));
    }

    #[test]
    fn fixed_addresses() {
        let mut pool = Pool::new(&subnet("10.0.0.0", 24, "10.0.0.1")).unwrap();
        pool.take(ip("10.0.0.2")).unwrap();
        assert_eq!(pool.allocate().unwrap(), ip("10.0.0.3"));
        assert!(pool.take(ip("10.0.0.3")).is_err());
        for outside in ["10.0.0.0", "10.0.0.255", "10.0.1.1", "fd00::1"] {
            assert!(pool.take(ip(outside)).is_err(), "{outside}");
        }
        pool.release(ip("10.0.0.1"));
        assert!(pool.take(ip("10.0.0.1")).is_err(), "the gateway is never free");
    }

    #[test]
    fn ranges_bound_allocation_only() {
        let mut narrow = subnet("10.0.0.0", 24, "10.0.0.1");
        narrow.range = Some((ip("10.0.0.128"), 30));
        let mut pool = Pool::new(&narrow).unwrap();
        for last in 128..132 {
            assert_eq!(pool.allocate().unwrap(), ip(&format!("10.0.0.{last}")));
        }
        assert!(pool.allocate().is_err());
        pool.take(ip("10.0.0.7")).unwrap();
    }

    #[test]
    fn ipv6_and_small_blocks() {
        let mut pool = Pool::new(&subnet("fd00::", 48, "fd00::1")).unwrap();
        assert_eq!(pool.allocate().unwrap(), ip("fd00::2"));
        let mut pool = Pool::new(&subnet("10.0.0.0", 31, "10.0.0.0")).unwrap();
        assert_eq!(pool.allocate().unwrap(), ip("10.0.0.1"));
        assert!(pool.allocate().is_err());
        assert!(Pool::new(&subnet("10.0.0.1", 24, "10.0.0.1")).is_err());
        assert!(Pool::new(&subnet("10.0.0.0", 24, "10.0.1.1")).is_err());
    }

    #[test]
    fn blocks_overlap() {
        assert!(overlap((ip("10.0.0.0"), 8), (ip("10.1.0.0"), 16)));
        assert!(overlap((ip("10.1.0.0"), 16), (ip("10.0.0.0"), 8)));
        assert!(!overlap((ip("10.1.0.0"), 16), (ip("10.2.0.0"), 16)));
        assert!(contains(ip("0.0.0.0"), 0, ip("1.2.3.4")));
    }
}
