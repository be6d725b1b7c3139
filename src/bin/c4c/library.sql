-- What everything in the file was made with; one row.
CREATE TABLE settings (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    model NOT NULL,                -- the checkpoint's absolute path: text, or a blob where it is not UTF-8
    dim INTEGER NOT NULL,          -- floats in one vector
    num_frames INTEGER NOT NULL,   -- frames that stand for a video, or for a window of it
    rotate INTEGER NOT NULL,       -- 1: pictures were turned as the container asks
    window_us INTEGER,             -- the length of the windows, in microseconds; NULL: a video is one vector
    step_us INTEGER,               -- from one window's start to the next one's, in microseconds
    probe_text BLOB NOT NULL,      -- the model's fingerprint: its vectors of a fixed text
    probe_video BLOB NOT NULL      -- and of a fixed pair of pictures
);

-- Every file that was embedded, or tried.
CREATE TABLE videos (
    id INTEGER PRIMARY KEY,
    -- Relative to the folder of this file, or absolute; text, or a blob where it is not UTF-8.
    path NOT NULL UNIQUE,
    size INTEGER NOT NULL,         -- in bytes, as it was embedded
    mtime_ns INTEGER NOT NULL,     -- in nanoseconds since 1970, likewise
    status INTEGER NOT NULL,       -- 0, or the c4c_status that embedding it ended with
    error TEXT                     -- what was wrong with it; NULL with status 0
);

-- The parts of videos that have a vector: one for a short video, the windows of a longer one.
CREATE TABLE segments (
    id INTEGER PRIMARY KEY,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    start_us INTEGER NOT NULL,     -- from the video's first frame, in microseconds
    end_us INTEGER NOT NULL,
    UNIQUE (video, start_us)
);

-- Their vectors; rowid is segments.id.
CREATE VIRTUAL TABLE vectors USING vec0 (embedding float[{dim}] distance_metric=cosine);
