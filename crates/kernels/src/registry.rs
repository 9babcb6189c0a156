//! A registry with one shared value for each device index.

use crate::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The open devices of one kind: one shared value for each index, opened on first use. Arrays that
/// different callers create on the same index are therefore on the same device and can be operands
/// of one operation.
pub(crate) struct Registry<D>(Mutex<BTreeMap<usize, Arc<D>>>);

impl<D> Registry<D> {
    /// Creates an empty registry.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The devices that are open.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub fn open(&self) -> Vec<Arc<D>> {
        let devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        devices.values().cloned().collect()
    }

    /// Returns the device with this index; `open` opens it on first use.
    ///
    /// # Errors
    /// The error of `open`. A failure is not stored, so the next call tries again.
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
