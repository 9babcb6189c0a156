//! The memory that something needs, by device.

use crate::{Device, Result};
use xt_kernels::memory::check_on;

/// The sizes in bytes of the arrays that something needs on each device.
#[derive(Default)]
pub(crate) struct BytesByDevice(Vec<Needs>);

/// What is needed on one device.
struct Needs {
    device: Device,
    /// The arrays that are there together.
    arrays: Vec<u64>,
    /// The largest of those that follow each other.
    in_turn: u64,
}

impl Needs {
    /// The sizes of all arrays that are there at the same time, at most.
    fn all(&self) -> Vec<u64> {
        let largest = (self.in_turn > 0).then_some(self.in_turn);
        self.arrays.iter().copied().chain(largest).collect()
    }
}

impl BytesByDevice {
    /// Adds an array of `bytes` on `device`.
    pub fn add(&mut self, device: &Device, bytes: u64) {
        self.on(device).arrays.push(bytes);
    }

    /// Adds a need of `bytes` on `device` that ends before the next one of this kind: of all of
    /// them, the largest counts.
    pub fn add_in_turn(&mut self, device: &Device, bytes: u64) {
        let needs = self.on(device);
        needs.in_turn = needs.in_turn.max(bytes);
    }

    fn on(&mut self, device: &Device) -> &mut Needs {
        let known = self.0.iter().position(|needs| needs.device.same_device(device));
        let index = known.unwrap_or_else(|| {
            self.0.push(Needs { device: device.clone(), arrays: Vec::new(), in_turn: 0 });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    /// Returns an error if the memory of a device does not suffice for all of its arrays together,
    /// for `what`.
    pub fn check_sum(&self, what: &str) -> Result<()> {
        for needs in &self.0 {
            let sum = needs.all().into_iter().fold(0, u64::saturating_add);
            if sum > 0 {
                check_on(&needs.device, what, sum)?;
            }
        }
        Ok(())
    }

    /// Returns an error if the arrays cannot be allocated one by one, with none of them freed
    /// before the last one is, for `what`.
    pub fn check_each(&self, what: &str) -> Result<()> {
        for needs in &self.0 {
            xt_kernels::memory::alloc::check_all(&needs.device, what, &needs.all())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_in_turn_count_once_beside_all_that_are_there_together() {
        let mut needs = BytesByDevice::default();
        for bytes in [5, 90, 7] {
            needs.add(&Device::Cpu, 10);
            needs.add_in_turn(&Device::Cpu, bytes);
        }
        assert_eq!(needs.0.len(), 1);
        assert_eq!(needs.0[0].all(), [10, 10, 10, 90]);
    }
}
