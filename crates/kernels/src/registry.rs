//! The one value for each device of a kind.

use crate::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The devices of a kind: one value for each index, made when it is asked for first, so that what two callers get can meet
/// in one operation.
pub(crate) struct Registry<D>(Mutex<BTreeMap<usize, Arc<D>>>);

impl<D> Registry<D> {
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The device with this index; `open` makes it. What failed is tried again.
    pub fn get(&self, index: usize, open: impl FnOnce() -> Result<D>) -> Result<Arc<D>> {
        let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = devices.get(&index) {
            return Ok(device.clone());
        }
        let device = Arc::new(open()?);
        devices.insert(index, device.clone());
        Ok(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_gives_the_same_device_each_time() {
        let registry = Registry::new();
        assert!(registry.get(0, || crate::error::bail!("no driver")).is_err());
        let first = registry.get(0, || Ok("first")).unwrap();
        let again = registry.get(0, || Ok("second")).unwrap();
        assert!(Arc::ptr_eq(&first, &again) && *again == "first");
        assert_eq!(*registry.get(1, || Ok("other")).unwrap(), "other");
    }
}
