//! A table of what each kernel reaches of the processor's peak.

use crate::peak::Peak;
use criterion::Throughput;
use std::sync::Mutex;

/// What was measured so far.
static RESULTS: Mutex<Vec<Kernel>> = Mutex::new(Vec::new());

struct Kernel {
    name: String,
    throughput: Throughput,
    /// Seconds that it took in each sample.
    seconds: Vec<f64>,
}

/// Takes a sample of a kernel; samples of one kernel come one after the other.
pub fn record(name: &str, throughput: &Throughput, seconds: f64) {
    let mut results = RESULTS.lock().unwrap();
    match results.last_mut() {
        Some(last) if last.name == name => last.seconds.push(seconds),
        _ => results.push(Kernel {
            name: name.into(),
            throughput: throughput.clone(),
            seconds: vec![seconds],
        }),
    }
}

/// Prints the medians of all kernels.
pub fn print(peak: Peak) {
    let (gflops, gbytes) = (peak.flops / 1e9, peak.bytes / 1e9);
    println!("\nPeak of all threads: {gflops:.0} GFLOP/s (f32, in registers), {gbytes:.1} GB/s read from memory.");
    println!("More than 100 % of the memory's peak: what a kernel needs was in the caches.\n");
    println!("| kernel | reaches | of the peak |\n| --- | --- | --- |");
    for kernel in RESULTS.lock().unwrap().iter_mut() {
        kernel.seconds.sort_by(f64::total_cmp);
        let seconds = kernel.seconds[kernel.seconds.len() / 2];
        let (amount, unit, most) = match kernel.throughput {
            Throughput::Elements(flops) => (flops, "GFLOP/s", peak.flops),
            Throughput::Bytes(bytes) => (bytes, "GB/s", peak.bytes),
            _ => continue,
        };
        let reached = amount as f64 / seconds;
        println!(
            "| {} | {:.1} {unit} | {:.0} % |",
            kernel.name,
            reached / 1e9,
            100.0 * reached / most
        );
    }
}
