//! What fits a vector best.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use rusqlite::params;

use super::{bytes, path, stamp, Library};
use crate::common::Failure;
use crate::walk::Stamp;

/// The most neighbours that sqlite-vec gives at once.
const MOST_NEIGHBOURS: usize = 4096;

/// A part of a video that fits a query, or all of it.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The cosine of its vector and the query's.
    pub score: f64,
    /// Absolute.
    pub path: PathBuf,
    /// As it was when it was embedded.
    pub stamp: Stamp,
    /// From its first frame, in microseconds.
    pub start_us: i64,
    pub end_us: i64,
}

impl Library {
    /// The `k` segments that fit a vector best, best first, of each video its best `per_video` at most.
    pub fn nearest(&self, vector: &[f32], k: usize, per_video: usize) -> Result<Vec<Hit>, Failure> {
        self.hits(&bytes(vector), k, per_video).map_err(|e| self.explain(e))
    }

    fn hits(&self, vector: &[u8], k: usize, per_video: usize) -> rusqlite::Result<Vec<Hit>> {
        let mut select = self.db.prepare(
            "SELECT segments.id, vectors.distance, video, start_us, end_us, path, size, mtime_ns FROM vectors
             JOIN segments ON segments.id = vectors.rowid JOIN videos ON videos.id = segments.video
             WHERE vectors.embedding MATCH ?1 AND vectors.k = ?2 AND vectors.distance >= ?3 ORDER BY vectors.distance",
        )?;
        let (mut hits, mut seen, mut of_video) = (Vec::new(), HashSet::new(), HashMap::<i64, usize>::new());
        // A long film may fill a page; the next one begins at the distance at which this one ends.
        let mut page = k.saturating_mul(8).clamp(64, MOST_NEIGHBOURS);
        let mut from = -1.0f64;
        loop {
            let mut rows = select.query(params![vector, page as i64, from])?;
            let (mut count, mut last) = (0, from);
            while let Some(row) = rows.next()? {
                count += 1;
                last = row.get(1)?;
                let hits_of_video = of_video.entry(row.get(2)?).or_default();
                if !seen.insert(row.get::<_, i64>(0)?) || *hits_of_video == per_video {
                    continue;
                }
                *hits_of_video += 1;
                hits.push(Hit {
                    score: 1.0 - last,
                    path: self.folder.join(path(row, 5)?),
                    stamp: stamp(row, 6)?,
                    start_us: row.get(3)?,
                    end_us: row.get(4)?,
                });
                if hits.len() == k {
                    return Ok(hits);
                }
            }
            if count < page {
                return Ok(hits);
            }
            // Where a whole page is at one distance, what else is there is passed over: nothing tells them apart.
            from = if last > from { last } else { f64::from((from as f32).next_up()) };
            page = MOST_NEIGHBOURS;
        }
    }
}
