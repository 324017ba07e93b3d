//! An encoder that follows ITU-T T.87 step by step, with no thought of speed.

use super::Extent;

const J: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// An image, and how it is to be coded. Zeros ask for the standard's defaults.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub rows: usize,
    pub columns: usize,
    pub precision: u8,
    pub near: i64,
    pub maximum: i64,
    pub thresholds: [i64; 3],
    pub reset: i64,
    pub restart_lines: usize,
    pub values: Vec<u16>,
}

impl Problem {
    pub fn plain(rows: usize, columns: usize, precision: u8, values: Vec<u16>) -> Self {
        let (maximum, thresholds) = (0, [0; 3]);
        Self { rows, columns, precision, near: 0, maximum, thresholds, reset: 0, restart_lines: 0, values }
    }

    pub fn extent(&self) -> Extent {
        Extent { rows: self.rows as u32, columns: self.columns as u32 }
    }

    pub fn maxval(&self) -> i64 {
        if self.maximum == 0 { (1 << self.precision) - 1 } else { self.maximum }
    }

    /// The codestream, and what a decoder must make of it.
    pub fn encode(&self) -> (Vec<u8>, Vec<u16>) {
        let mut stream = vec![0xFF, 0xD8, 0xFF, 0xF7, 0, 11, self.precision];
        stream.extend((self.rows as u16).to_be_bytes());
        stream.extend((self.columns as u16).to_be_bytes());
        stream.extend([1, 1, 0x11, 0]);
        if self.maximum != 0 || self.thresholds != [0; 3] || self.reset != 0 {
            stream.extend([0xFF, 0xF8, 0, 13, 1]);
            let [t1, t2, t3] = self.thresholds;
            for number in [self.maximum, t1, t2, t3, self.reset] {
                stream.extend((number as u16).to_be_bytes());
            }
        }
        if self.restart_lines != 0 {
            stream.extend([0xFF, 0xDD, 0, 4, (self.restart_lines >> 8) as u8, self.restart_lines as u8]);
        }
        stream.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, self.near as u8, 0, 0]);
        let interval = if self.restart_lines == 0 { self.rows } else { self.restart_lines };
        let mut reconstructed = Vec::new();
        for (index, lines) in self.values.chunks(interval * self.columns).enumerate() {
            if index > 0 {
                stream.extend([0xFF, 0xD0 + ((index - 1) % 8) as u8]);
            }
            let mut encoder = Encoder::new(self);
            reconstructed.extend(encoder.interval(lines));
            stream.extend(encoder.finish());
        }
        stream.extend([0xFF, 0xD9]);
        (stream, reconstructed)
    }
}

/// Variables named as in ITU-T T.87, A.2 to A.7.
struct Encoder {
    columns: usize,
    near: i64,
    maxval: i64,
    range: i64,
    qbpp: u32,
    limit: u32,
    t: [i64; 3],
    reset: i64,
    a: [i64; 367],
    b: [i64; 365],
    c: [i64; 365],
    n: [i64; 367],
    nn: [i64; 367],
    run_index: usize,
    bytes: Vec<u8>,
    held: u32,
    held_count: u32,
}

impl Encoder {
    fn new(problem: &Problem) -> Self {
        let (maxval, near) = (problem.maxval(), problem.near);
        let log2 = |count: i64| (0..).find(|&bits| 1i64 << bits >= count).unwrap();
        let range = (maxval + 2 * near) / (2 * near + 1) + 1;
        let bpp: u32 = log2(maxval + 1).max(2);
        let clamp = |i: i64, j: i64| if i > maxval || i < j { j } else { i };
        let mut t = problem.thresholds;
        let defaults = if maxval >= 128 {
            let factor = (maxval.min(4095) + 128) / 256;
            [factor + 2 + 3 * near, factor * 4 + 3 + 5 * near, factor * 17 + 4 + 7 * near]
        } else {
            let factor = 256 / (maxval + 1);
            [2.max(3 / factor + 3 * near), 3.max(7 / factor + 5 * near), 4.max(21 / factor + 7 * near)]
        };
        for i in 0..3 {
            let least = if i == 0 { near + 1 } else { t[i - 1] };
            t[i] = if t[i] == 0 { clamp(defaults[i], least) } else { t[i] };
        }
        Self {
            columns: problem.columns,
            near,
            maxval,
            range,
            qbpp: log2(range),
            limit: 2 * (bpp + bpp.max(8)),
            t,
            reset: if problem.reset == 0 { 64 } else { problem.reset },
            a: [2.max((range + 32) / 64); 367],
            b: [0; 365],
            c: [0; 365],
            n: [1; 367],
            nn: [0; 367],
            run_index: 0,
            bytes: Vec::new(),
            held: 0,
            held_count: 0,
        }
    }

    fn bit(&mut self, bit: u32) {
        self.held = self.held << 1 | bit;
        self.held_count += 1;
        let full = if self.bytes.last() == Some(&0xFF) { 7 } else { 8 };
        if self.held_count == full {
            self.bytes.push(self.held as u8);
            (self.held, self.held_count) = (0, 0);
        }
    }

    fn bits(&mut self, value: i64, count: u32) {
        for place in (0..count).rev() {
            self.bit((value >> place) as u32 & 1);
        }
    }

    /// Fills the last byte. Where that is 0xFF, no stuffed byte follows it, though A.1 asks for one: encoders leave
    /// it out, and a marker may follow.
    fn finish(mut self) -> Vec<u8> {
        while self.held_count > 0 {
            self.bit(0);
        }
        self.bytes
    }

    fn golomb(&mut self, mapped: i64, k: u32, limit: u32) {
        let high = mapped >> k;
        if high < i64::from(limit - self.qbpp - 1) {
            self.bits(0, high as u32);
            self.bit(1);
            self.bits(mapped & ((1 << k) - 1), k);
        } else {
            self.bits(0, limit - self.qbpp - 1);
            self.bit(1);
            self.bits(mapped - 1, self.qbpp);
        }
    }

    fn quantized_gradient(&self, d: i64) -> i64 {
        let [t1, t2, t3] = self.t;
        match d {
            d if d <= -t3 => -4,
            d if d <= -t2 => -3,
            d if d <= -t1 => -2,
            d if d < -self.near => -1,
            d if d <= self.near => 0,
            d if d < t1 => 1,
            d if d < t2 => 2,
            d if d < t3 => 3,
            _ => 4,
        }
    }

    fn quantized_error(&self, error: i64) -> i64 {
        if error > 0 {
            (error + self.near) / (2 * self.near + 1)
        } else {
            -(self.near - error) / (2 * self.near + 1)
        }
    }

    fn modulo(&self, error: i64) -> i64 {
        let error = if error < 0 { error + self.range } else { error };
        if error >= (self.range + 1) / 2 { error - self.range } else { error }
    }

    fn k(a: i64, n: i64) -> u32 {
        (0..).find(|&k| n << k >= a).unwrap()
    }

    /// Codes lines, and returns what they are after decoding.
    fn interval(&mut self, values: &[u16]) -> Vec<u16> {
        let columns = self.columns as isize;
        let rows = values.len() / self.columns;
        let mut out = vec![vec![0i64; self.columns]; rows];
        // Figure 3 and A.2.1: pixels outside of the image.
        fn at(out: &[Vec<i64>], y: isize, x: isize, columns: isize) -> i64 {
            if y < 0 {
                0
            } else if x < 0 {
                at(out, y - 1, 0, columns)
            } else {
                out[y as usize][x.min(columns - 1) as usize]
            }
        }
        for y in 0..rows as isize {
            let line = &values[(y * columns) as usize..];
            let mut x = 0;
            while x < columns {
                let ix = i64::from(line[x as usize]);
                let (ra, rb) = (at(&out, y, x - 1, columns), at(&out, y - 1, x, columns));
                let (rc, rd) = (at(&out, y - 1, x - 1, columns), at(&out, y - 1, x + 1, columns));
                let d = [rd - rb, rb - rc, rc - ra];
                if d.iter().all(|d| d.abs() <= self.near) {
                    let mut count = 0;
                    while x < columns && (i64::from(line[x as usize]) - ra).abs() <= self.near {
                        out[y as usize][x as usize] = ra;
                        count += 1;
                        x += 1;
                    }
                    while count >= 1 << J[self.run_index] {
                        self.bit(1);
                        count -= 1 << J[self.run_index];
                        self.run_index = (self.run_index + 1).min(31);
                    }
                    if x == columns {
                        if count > 0 {
                            self.bit(1);
                        }
                        break;
                    }
                    self.bit(0);
                    self.bits(count, J[self.run_index]);
                    let rb = at(&out, y - 1, x, columns);
                    out[y as usize][x as usize] = self.interruption(i64::from(line[x as usize]), ra, rb);
                    self.run_index = self.run_index.saturating_sub(1);
                } else {
                    out[y as usize][x as usize] = self.regular(ix, ra, rb, rc, d);
                }
                x += 1;
            }
        }
        out.concat().iter().map(|&value| value as u16).collect()
    }

    /// A.3 to A.6.
    fn regular(&mut self, ix: i64, ra: i64, rb: i64, rc: i64, d: [i64; 3]) -> i64 {
        let mut levels = d.map(|d| self.quantized_gradient(d));
        let first = levels.iter().copied().find(|&level| level != 0).unwrap();
        let sign = first.signum();
        levels = levels.map(|level| level * sign);
        let q = (levels[0] * 81 + levels[1] * 9 + levels[2]) as usize;
        let px = if rc >= ra.max(rb) {
            ra.min(rb)
        } else if rc <= ra.min(rb) {
            ra.max(rb)
        } else {
            ra + rb - rc
        };
        let px = (px + sign * self.c[q]).clamp(0, self.maxval);
        let quantized = self.quantized_error((ix - px) * sign);
        let rx = (px + sign * quantized * (2 * self.near + 1)).clamp(0, self.maxval);
        let error = self.modulo(quantized);
        let k = Self::k(self.a[q], self.n[q]);
        let mapped = if self.near == 0 && k == 0 && 2 * self.b[q] <= -self.n[q] {
            if error >= 0 { 2 * error + 1 } else { -2 * (error + 1) }
        } else if error >= 0 {
            2 * error
        } else {
            -2 * error - 1
        };
        self.golomb(mapped, k, self.limit);
        self.b[q] += error * (2 * self.near + 1);
        self.a[q] += error.abs();
        if self.n[q] == self.reset {
            self.a[q] /= 2;
            self.b[q] = if self.b[q] >= 0 { self.b[q] / 2 } else { -((1 - self.b[q]) / 2) };
            self.n[q] /= 2;
        }
        self.n[q] += 1;
        if self.b[q] <= -self.n[q] {
            self.b[q] += self.n[q];
            self.c[q] = (self.c[q] - 1).max(-128);
            self.b[q] = self.b[q].max(-self.n[q] + 1);
        } else if self.b[q] > 0 {
            self.b[q] -= self.n[q];
            self.c[q] = (self.c[q] + 1).min(127);
            self.b[q] = self.b[q].min(0);
        }
        rx
    }

    /// A.7.2.
    fn interruption(&mut self, ix: i64, ra: i64, rb: i64) -> i64 {
        let alike = i64::from((ra - rb).abs() <= self.near);
        let px = if alike == 1 { ra } else { rb };
        let sign = if alike == 0 && ra > rb { -1 } else { 1 };
        let quantized = self.quantized_error((ix - px) * sign);
        let rx = (px + sign * quantized * (2 * self.near + 1)).clamp(0, self.maxval);
        let error = self.modulo(quantized);
        let q = 365 + alike as usize;
        let temp = if alike == 1 { self.a[q] + (self.n[q] >> 1) } else { self.a[q] };
        let k = Self::k(temp, self.n[q]);
        let map = (k == 0 && error > 0 && 2 * self.nn[q] < self.n[q])
            || (error < 0 && 2 * self.nn[q] >= self.n[q])
            || (error < 0 && k != 0);
        let mapped = 2 * error.abs() - alike - i64::from(map);
        self.golomb(mapped, k, self.limit - J[self.run_index] - 1);
        if error < 0 {
            self.nn[q] += 1;
        }
        self.a[q] += (mapped + 1 - alike) >> 1;
        if self.n[q] == self.reset {
            self.a[q] >>= 1;
            self.n[q] >>= 1;
            self.nn[q] >>= 1;
        }
        self.n[q] += 1;
        rx
    }
}
