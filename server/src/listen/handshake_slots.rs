//! The places for handshakes: a limit for each peer address, so that no peer can take the places of all others.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// The handshakes under way, by peer address. It has no more entries than there are handshakes.
#[derive(Debug)]
pub(super) struct HandshakeSlots {
    max_per_peer: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A place for one handshake, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<HandshakeSlots>,
    address: IpAddr,
}

impl HandshakeSlots {
    /// Slots with this limit for each address.
    pub(super) fn new(max_per_peer: usize) -> Arc<Self> {
        Arc::new(Self { max_per_peer, taken: Mutex::default() })
    }

    /// Takes a place; `None` if the address has all of its own.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let address = network(address);
        let mut taken = self.taken.lock();
        let count = taken.entry(address).or_default();
        if *count >= self.max_per_peer {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Slot { slots: Arc::clone(self), address })
    }
}

/// Returns the address that a peer counts as: one host can have all addresses of an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.slots.taken.lock().entry(self.address) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_share_places() {
        let network = |text: &str| network(text.parse().unwrap());

        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::2"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }

    #[test]
    fn full_address_leaves_places_for_others() {
        let slots = HandshakeSlots::new(2);
        let [first, second, mapped] = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1"].map(|ip| ip.parse().unwrap());

        let taken = [slots.take(first), slots.take(mapped)];

        assert!(taken.iter().all(Option::is_some));
        assert!(slots.take(first).is_none() && slots.take(mapped).is_none());
        assert!(slots.take(second).is_some());
    }

    #[test]
    fn dropped_slot_is_free_again() {
        let slots = HandshakeSlots::new(1);
        let address = "10.0.0.1".parse().unwrap();

        drop(slots.take(address));

        assert!(slots.take(address).is_some());
        assert!(slots.taken.lock().is_empty(), "an idle address keeps an entry");
    }
}
