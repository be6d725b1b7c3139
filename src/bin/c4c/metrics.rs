//! How well texts find videos and videos texts, as CLIP4Clip's tables have it.

use ndarray::{Array2, ArrayView2, Axis};

/// Similarities that are held at once.
const BLOCK: usize = 1 << 21;

/// What a list of ranks comes to.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Scores {
    /// Percent of the queries whose answer comes first, among the first five and among the first ten.
    pub r1: f64,
    pub r5: f64,
    pub r10: f64,
    /// Of an even number of ranks, the mean of the middle two.
    pub median_rank: f64,
    pub mean_rank: f64,
}

impl Scores {
    /// Of ranks that count from 1. Without any, everything is NaN.
    pub fn of(ranks: &[usize]) -> Scores {
        let mut sorted = ranks.to_vec();
        sorted.sort_unstable();
        let n = sorted.len() as f64;
        let recall = |k| 100.0 * sorted.partition_point(|&rank| rank <= k) as f64 / n;
        let median_rank = match (sorted.get(sorted.len().saturating_sub(1) / 2), sorted.get(sorted.len() / 2)) {
            (Some(&a), Some(&b)) => (a + b) as f64 / 2.0,
            _ => f64::NAN,
        };
        let mean_rank = sorted.iter().sum::<usize>() as f64 / n;
        Scores { r1: recall(1), r5: recall(5), r10: recall(10), median_rank, mean_rank }
    }
}

/// Vectors, one a row, and the video that each is of.
#[derive(Clone, Copy)]
pub struct Vectors<'a> {
    /// `[n, dim]`
    pub rows: ArrayView2<'a, f32>,
    /// n numbers below the number of videos.
    pub videos: &'a [usize],
}

/// For each query, the place of its video among all videos. A video is as similar as the most similar of its
/// candidates, of which it has at least one: its one vector, or its captions.
pub fn ranks(queries: Vectors, candidates: Vectors) -> Vec<usize> {
    // In double precision, so that equal means that the vectors are.
    let transposed: Array2<f64> = candidates.rows.t().mapv(f64::from);
    let block = (BLOCK / candidates.rows.nrows().max(1)).max(1);
    let mut best = vec![f64::NEG_INFINITY; candidates.videos.iter().max().map_or(0, |last| last + 1)];
    let mut ranks = Vec::with_capacity(queries.rows.nrows());
    for (rows, videos) in queries.rows.axis_chunks_iter(Axis(0), block).zip(queries.videos.chunks(block)) {
        let similarities = rows.mapv(f64::from).dot(&transposed);
        for (row, &video) in similarities.rows().into_iter().zip(videos) {
            ranks.push(rank(row, candidates.videos, video, &mut best));
        }
    }
    ranks
}

/// The place of `video`: 1, and one more for every other that is at least as similar, so that a tie counts against it.
fn rank(similarities: ndarray::ArrayView1<f64>, videos: &[usize], video: usize, best: &mut [f64]) -> usize {
    best.fill(f64::NEG_INFINITY);
    for (&similarity, &of) in similarities.iter().zip(videos) {
        best[of] = best[of].max(similarity);
    }
    let own = best[video];
    best.iter().filter(|&&other| other >= own).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{array, s};

    /// The ranks by similarities that are given outright: those to unit vectors are the coordinates.
    fn ranks_by(similarities: Array2<f32>, queries: &[usize], candidates: &[usize]) -> Vec<usize> {
        let units = Array2::eye(candidates.len());
        let queries = Vectors { rows: similarities.view(), videos: queries };
        ranks(queries, Vectors { rows: units.view(), videos: candidates })
    }

    #[test]
    fn scores_worked_out_by_hand() {
        // Sorted 1 1 2 5 6 10 11 60: two of eight are first, four among five, six among ten.
        let scores = Scores::of(&[5, 1, 11, 2, 60, 1, 10, 6]);
        assert_eq!(scores, Scores { r1: 25.0, r5: 50.0, r10: 75.0, median_rank: 5.5, mean_rank: 12.0 });
        assert_eq!(Scores::of(&[3, 1, 2]).median_rank, 2.0);
        assert!(Scores::of(&[]).mean_rank.is_nan() && Scores::of(&[]).median_rank.is_nan());
    }

    #[test]
    fn one_caption_each() {
        // Of the first text nothing beats its video, of the second one does, of the third both.
        let similarities = array![[0.9, 0.1, 0.2], [0.5, 0.4, 0.3], [0.7, 0.8, 0.6]];
        assert_eq!(ranks_by(similarities.clone(), &[0, 1, 2], &[0, 1, 2]), [1, 2, 3]);
        // The columns, for videos: 0.9 of .9 .5 .7, 0.4 of .1 .4 .8, 0.6 of .2 .3 .6.
        assert_eq!(ranks_by(similarities.reversed_axes(), &[0, 1, 2], &[0, 1, 2]), [1, 2, 1]);
    }

    #[test]
    fn several_captions_of_a_video_are_one_candidate() {
        // Captions 0, 1, 2 are of video 0, 3 of video 1, 4 of video 2. For video 0, its best caption has 0.7, and only
        // the set of video 2 is better, with 0.8. For video 1 both others' best are, three of whose captions are better
        // than 0.3: its rank is 3, and not 4. Video 2's only caption is its best.
        let similarities = array![[0.1, 0.7, 0.2, 0.6, 0.8], [0.4, 0.5, 0.2, 0.3, 0.9], [0.1, 0.2, 0.3, 0.4, 0.5]];
        assert_eq!(ranks_by(similarities, &[0, 1, 2], &[0, 0, 0, 1, 2]), [2, 3, 1]);
        // The other way every caption is a query.
        let similarities = array![[0.1, 0.2], [0.3, 0.1], [0.2, 0.5]];
        assert_eq!(ranks_by(similarities, &[0, 0, 1], &[0, 1]), [2, 1, 1]);
    }

    #[test]
    fn ties_count_against() {
        // Wherever in a product they lie: more rows and columns than its parts have.
        let same = Array2::from_shape_fn((77, 300), |(_, k)| (k as f32).sin());
        let videos: Vec<usize> = (0..77).collect();
        let all = Vectors { rows: same.view(), videos: &videos };
        assert_eq!(ranks(all, all), [77; 77]);
        assert_eq!(Scores::of(&ranks(all, all)).r1, 0.0);
        // Two captions of one video that are the same do not compete.
        let halves: Vec<usize> = (0..77).map(|i| i / 39).collect();
        let queries = Vectors { rows: same.slice(s![..3, ..]), videos: &[0, 1, 0] };
        assert_eq!(ranks(queries, Vectors { videos: &halves, ..all }), [2; 3]);
    }

    #[test]
    fn blocks_make_no_difference() {
        // More candidates than fit in two rows of a block.
        let (n, dim) = (BLOCK / 2 + 1, 2);
        let rows = Array2::from_shape_fn((n, dim), |(i, k)| if k == 0 { i as f32 } else { 1.0 });
        let videos: Vec<usize> = (0..n).collect();
        let candidates = Vectors { rows: rows.view(), videos: &videos };
        let queries = array![[1.0, 0.0], [-1.0, 0.0], [1.0, 5.0]];
        let queries = Vectors { rows: queries.view(), videos: &[0, 0, n - 3] };
        assert_eq!(ranks(queries, candidates), [n, 1, 3]);
    }
}
