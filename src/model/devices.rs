//! A model's threads on its devices, and what it leaves behind there.

use crossbeam_channel::{bounded, Sender};

use crate::clip::{self, Clip, LoadOptions};
use crate::error::{Error, Result};
use crate::gpu;
use crate::options::Device;
use crate::runtime::{cuda_is_in_use, Load};
use crate::weights::Checkpoint;

/// Threads for each GPU, with a stream each: while one computes, the other brings the next images there.
const GPU_LANES: usize = 2;

/// What libtorch keeps of GPUs' memory when a model has gone, or was not made, goes back to the system.
pub(super) struct Kept(pub(super) Vec<Device>);

impl Drop for Kept {
    fn drop(&mut self) {
        if self.0 != [Device::Cpu] {
            // There is nobody to tell; the memory is libtorch's to use again.
            let _ = give_back(&self.0);
        }
    }
}

/// Gives back what libtorch keeps of GPUs' memory. A model on a CPU, too, may have been given frames that are there.
pub(super) fn give_back(devices: &[Device]) -> Result<()> {
    match (cuda_is_in_use(), devices.first()) {
        (false, _) => Ok(()),
        (true, Some(&Device::Cuda(number))) => gpu::trim(number),
        (true, _) => gpu::trim(0),
    }
}

/// A CPU has one thread; a GPU has [`GPU_LANES`]. The first of all reads the weights, copies them to the other GPUs, and hands them
/// out.
pub(super) fn loads(weights: Checkpoint, devices: &[Device], options: LoadOptions) -> Vec<Load<Clip>> {
    let mut gives: Vec<(Device, Vec<Sender<Clip>>)> = Vec::new();
    let mut loads: Vec<Load<Clip>> = Vec::new();
    for (i, &device) in devices.iter().enumerate() {
        let lanes = if device == Device::Cpu { 1 } else { GPU_LANES };
        let mut receivers = Vec::new();
        // The first is the one that gives.
        for _ in usize::from(i == 0)..lanes {
            let (give, take) = bounded::<Clip>(1);
            receivers.push(give);
            loads.push(Box::new(move || {
                clip::enter(device)?;
                // Where nothing comes the first has failed, and its reason is the one that is told.
                take.recv().map_err(|_| Error::internal("the model was not loaded"))
            }));
        }
        gives.push((device, receivers));
    }
    let first = move || {
        clip::enter(options.device)?;
        let clip = Clip::load(weights, options.clone())?;
        for (device, receivers) in gives.into_iter().filter(|(_, receivers)| !receivers.is_empty()) {
            let there = clip.on(device, &options)?;
            for give in receivers {
                // In the memory of its device's copy.
                drop(give.send(there.on(device, &options)?));
            }
        }
        Ok(clip)
    };
    loads.insert(0, Box::new(first));
    loads
}
