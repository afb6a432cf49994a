//! A reference-counted interner: each distinct value is stored once and has an id.
//!
//! Each use of a value is counted. When the last use is released, the value is dropped and its id becomes free.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;

use super::super::memory;

/// Slots grow by this fraction of their number, and by this minimum: doubling would leave half of them unused.
const GROWTH_DIVISOR: usize = 8;
const MIN_GROWTH: usize = 1024;

/// Values by id and ids by value.
pub(super) struct Interner<T: ?Sized> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    ids: HashTable<u32>,
    hasher: RandomState,
    /// The memory of the values without their slots, in bytes.
    value_bytes: usize,
}

struct Slot<T: ?Sized> {
    /// `None`: the id is free.
    value: Option<Arc<T>>,
    uses: u32,
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        let (slots, free) = (Vec::new(), Vec::new());
        Self { slots, free, ids: HashTable::new(), hasher: RandomState::new(), value_bytes: 0 }
    }
}

impl<T: ?Sized + Hash + Eq> Interner<T> {
    /// Adds one use of a value and returns its id; `None` if no ids are left.
    pub(super) fn intern(&mut self, value: &T, to_owned: impl FnOnce(&T) -> Arc<T>) -> Option<u32> {
        let hash = self.hasher.hash_one(value);
        let is_equal = |id: &u32| value_at(&self.slots, *id).is_some_and(|interned| **interned == *value);
        if let Some(id) = self.ids.find(hash, is_equal).copied() {
            let slot = self.slots.get_mut(id as usize)?;
            // A saturated count is never decremented: the value leaks, which costs little.
            slot.uses = slot.uses.saturating_add(1);
            return Some(id);
        }
        let id = self.insert_slot(Slot { value: Some(to_owned(value)), uses: 1 })?;
        self.value_bytes += memory::size_of_allocation(value);
        let rehash = |id: &u32| value_at(&self.slots, *id).map_or(0, |value| self.hasher.hash_one(&**value));
        self.ids.insert_unique(hash, id, rehash);
        Some(id)
    }

    /// Fills a free slot, or a new one; `None` if no ids are left.
    fn insert_slot(&mut self, slot: Slot<T>) -> Option<u32> {
        if let Some(id) = self.free.pop() {
            *self.slots.get_mut(id as usize)? = slot;
            return Some(id);
        }
        let id = u32::try_from(self.slots.len()).ok()?;
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact((self.slots.len() / GROWTH_DIVISOR).max(MIN_GROWTH));
            // No slot is free now, but all of them may become free.
            self.free.reserve_exact(self.slots.capacity());
        }
        self.slots.push(slot);
        Some(id)
    }

    /// Returns the value of an id in use.
    pub(super) fn get(&self, id: u32) -> Option<&Arc<T>> {
        value_at(&self.slots, id)
    }

    /// Releases one use of an id's value.
    pub(super) fn release(&mut self, id: u32) {
        let Some(slot) = self.slots.get_mut(id as usize).filter(|slot| slot.uses < u32::MAX) else { return };
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses > 0 {
            return;
        }
        let Some(value) = slot.value.take() else { return };
        if let Ok(entry) = self.ids.find_entry(self.hasher.hash_one(&*value), |interned| *interned == id) {
            entry.remove();
        }
        self.value_bytes = self.value_bytes.saturating_sub(memory::size_of_allocation(&*value));
        self.free.push(id);
        if self.ids.is_empty() {
            *self = Self::default();
        }
    }

    /// Returns the memory in bytes, including free slots.
    pub(super) fn bytes(&self) -> usize {
        // Any id may become free, and that must not add memory: the free list has room for all ids.
        let slots = self.slots.capacity() * (size_of::<Slot<T>>() + size_of::<u32>());
        self.value_bytes + slots + self.ids.allocation_size()
    }
}

fn value_at<T: ?Sized>(slots: &[Slot<T>], id: u32) -> Option<&Arc<T>> {
    slots.get(id as usize)?.value.as_ref()
}
