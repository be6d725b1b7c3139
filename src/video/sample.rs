//! Which frames stand for a video. Pure arithmetic.

/// The operator's `uniform_temporal_subsample`: `n` indices spread over `total` ≥ 1 frames from the first to the last,
/// in the float64 arithmetic of `numpy.linspace(0, total - 1, n).astype(int)`. Ascending; repeats frames of short
/// videos.
pub(super) fn uniform(total: u64, n: usize) -> Vec<u64> {
    let last = total.saturating_sub(1);
    if n <= 1 {
        return vec![0; n];
    }
    let step = last as f64 / (n - 1) as f64;
    let mut picks: Vec<u64> = (0..n).map(|i| (i as f64 * step) as u64).collect();
    picks[n - 1] = last;
    picks
}

#[cfg(test)]
mod tests {
    use super::uniform;

    /// Expected values by numpy.
    #[test]
    fn indices_are_numpy_s() {
        assert_eq!(uniform(5, 12), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4]);
        assert_eq!(uniform(100, 12), [0, 9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99]);
        assert_eq!(uniform(250, 12), [0, 22, 45, 67, 90, 113, 135, 158, 181, 203, 226, 249]);
        assert_eq!(uniform(1, 12), [0; 12]);
        assert_eq!(uniform(9, 1), [0]);
    }

    /// 679 totals up to 20,000 come out otherwise when the product is formed before the quotient; this is the first.
    #[test]
    fn the_step_is_rounded_first() {
        let ours = uniform(154, 64);
        let other: Vec<u64> = (0..64).map(|i| (f64::from(i) * 153.0 / 63.0) as u64).collect();
        assert_ne!(ours, other);
    }
}
