//! Cosines between two sets of vectors.

use ndarray::linalg::general_mat_mul;
use ndarray::{s, Array2, ArrayView2, Axis};

use crate::error::{Error, Result, Status};

/// Rows of the result that are computed at once.
const BLOCK: usize = 8;

/// Hands `cos(a[i], b[j]) = a[i]·b[j] / (‖a[i]‖ ‖b[j]‖)` for all `j` to `row`, one `i` after the other. `a` is `[n_a, dim]`, `b`
/// `[n_b, dim]`; they need not be of unit length. Nothing is handed over on error.
///
/// # Errors
/// `InvalidArgument` for a vector without a direction, whose length is zero or no number; `OutOfMemory`.
pub(crate) fn cosines(
    a: ArrayView2<f32>,
    b: ArrayView2<f32>,
    row: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let (a_scale, b_scale) = (scales(a, "a")?, scales(b, "b")?);
    let mut block = Array2::from_shape_vec((BLOCK, b.nrows()), zeros(BLOCK * b.nrows())?).map_err(Error::internal)?;
    for (n, part) in a.axis_chunks_iter(Axis(0), BLOCK).enumerate() {
        let mut block = block.slice_mut(s![..part.nrows(), ..]);
        general_mat_mul(1.0, &part, &b.t(), 0.0, &mut block);
        for (i, mut cosines) in (n * BLOCK..).zip(block.rows_mut()) {
            cosines.iter_mut().zip(&b_scale).for_each(|(cosine, scale)| *cosine *= a_scale[i] * scale);
            row(i, cosines.as_slice().ok_or_else(|| Error::internal("a row with gaps"))?)?;
        }
    }
    Ok(())
}

/// What makes each row one of unit length.
fn scales(rows: ArrayView2<f32>, name: &str) -> Result<Vec<f32>> {
    let mut scales = zeros(rows.nrows())?;
    for (i, (row, scale)) in rows.rows().into_iter().zip(&mut scales).enumerate() {
        let length = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        if !length.is_normal() {
            return Err(Error::invalid(format_args!("{name}[{i}] has the length {length}, so there is no cosine")));
        }
        *scale = (1.0 / length) as f32;
    }
    Ok(scales)
}

fn zeros(n: usize) -> Result<Vec<f32>> {
    let mut zeros = Vec::new();
    zeros
        .try_reserve_exact(n)
        .map_err(|_| Error::new(Status::OutOfMemory, format_args!("no memory for {n} similarities")))?;
    zeros.resize(n, 0.0);
    Ok(zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_of_all_pairs() {
        let a = Array2::from_shape_fn((19, 5), |(i, k)| ((i * 7 + k * 3) % 11) as f32 - 4.0);
        let b = Array2::from_shape_fn((3, 5), |(j, k)| (j + k) as f32 * 1e3 - 1.0);
        let mut seen = 0;
        let mut row = |i: usize, cosines: &[f32]| {
            assert_eq!((i, cosines.len()), (seen, 3));
            seen += 1;
            for (j, &cosine) in cosines.iter().enumerate() {
                let (a, b) = (a.row(i).mapv(f64::from), b.row(j).mapv(f64::from));
                let expected = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt();
                assert!((f64::from(cosine) - expected).abs() < 1e-6, "{i} {j}: {cosine}, {expected}");
            }
            Ok(())
        };
        cosines(a.view(), b.view(), &mut row).unwrap();
        assert_eq!(seen, 19);
    }

    #[test]
    fn a_vector_without_direction_has_no_cosine() {
        let good = Array2::from_elem((2, 3), 1.0);
        for bad in [0.0, f32::NAN, f32::INFINITY] {
            let mut with = good.clone();
            with.row_mut(1).fill(bad);
            let error = cosines(good.view(), with.view(), &mut |_, _| panic!("written")).unwrap_err();
            assert_eq!(error.status(), Status::InvalidArgument);
            assert!(error.message().contains("b[1]"), "{error}");
        }
    }
}
