//! The memory that something needs, by device.

use crate::{Device, Result};
use xt_kernels::memory::check_on;

/// The sizes in bytes of the arrays that something needs on each device.
#[derive(Default)]
pub(crate) struct BytesByDevice(Vec<(Device, Vec<u64>)>);

impl BytesByDevice {
    /// Adds an array of `bytes` on `device`.
    pub fn add(&mut self, device: &Device, bytes: u64) {
        match self.0.iter_mut().find(|(known, _)| known.same_device(device)) {
            Some((_, all)) => all.push(bytes),
            None => self.0.push((device.clone(), vec![bytes])),
        }
    }

    /// Notes a need of `bytes` on `device`, of several that follow each other: the largest counts.
    pub fn add_in_turn(&mut self, device: &Device, bytes: u64) {
        match self.0.iter_mut().find(|(known, _)| known.same_device(device)) {
            Some((_, all)) => all.iter_mut().for_each(|largest| *largest = bytes.max(*largest)),
            None => self.add(device, bytes),
        }
    }

    /// Returns an error if the memory of a device does not suffice for all of its arrays together,
    /// for `what`.
    pub fn check_sum(&self, what: &str) -> Result<()> {
        for (device, all) in &self.0 {
            let sum = all.iter().copied().fold(0, u64::saturating_add);
            if sum > 0 {
                check_on(device, what, sum)?;
            }
        }
        Ok(())
    }

    /// The devices, each with the sizes of its arrays.
    pub fn each(&self) -> &[(Device, Vec<u64>)] {
        &self.0
    }
}
