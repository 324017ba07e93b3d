//! A naive encoder, for tests alone: written from T.81 with nothing of the decoder, a bit at a time.

/// How long the codes of a Huffman table are.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// All the same.
    Flat,
    /// From 1 bit on, many of 16.
    Steep,
}

/// A coefficient band of a progressive scan: first, last, high and low bit.
pub type Step = (usize, usize, u32, u32);

/// What an image of blocks is written with.
#[derive(Clone, Debug)]
pub struct Blocks {
    pub rows: usize,
    pub columns: usize,
    pub precision: u8,
    /// In the order of the codestream, as are the coefficients.
    pub quantization: [u16; 64],
    pub coefficients: Vec<[i16; 64]>,
    pub interval: usize,
    pub shape: Shape,
}

/// What a lossless image is written with.
#[derive(Clone, Debug)]
pub struct Samples {
    pub columns: usize,
    pub precision: u8,
    pub predictor: u8,
    pub point_transform: u8,
    pub rows_of_interval: usize,
    pub shape: Shape,
    pub values: Vec<u16>,
}

struct Code {
    counts: [u8; 16],
    symbols: Vec<u8>,
    codes: Vec<(u32, u32)>,
}

impl Code {
    fn new(symbols: Vec<u8>, shape: Shape) -> Code {
        let count = symbols.len();
        let lengths: Vec<u32> = match shape {
            Shape::Flat => vec![(count as u32 + 1).next_power_of_two().ilog2(); count],
            Shape::Steep => {
                let short = (1..16u32).rev().find(|s| count - (*s as usize) < 1 << (16 - s)).unwrap();
                (1..=count as u32).map(|place| if place <= short { place } else { 16 }).collect()
            }
        };
        let mut counts = [0; 16];
        let (mut code, mut codes) = (0, Vec::new());
        for (place, &length) in lengths.iter().enumerate() {
            counts[length as usize - 1] += 1;
            if place > 0 {
                code = (code + 1) << (length - lengths[place - 1]);
            }
            codes.push((code, length));
        }
        Code { counts, symbols, codes }
    }

    fn segment(&self, place: u8) -> Vec<u8> {
        [&[place][..], &self.counts, &self.symbols].concat()
    }
}

struct Entropy {
    bits: Vec<bool>,
    bytes: Vec<u8>,
    restarts: u8,
}

impl Entropy {
    fn new() -> Entropy {
        Entropy { bits: Vec::new(), bytes: Vec::new(), restarts: 0 }
    }

    fn number(&mut self, value: u32, count: u32) {
        self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn symbol(&mut self, code: &Code, symbol: u8) {
        let place = code.symbols.iter().position(|other| *other == symbol).expect("a symbol of the table");
        let (value, length) = code.codes[place];
        self.number(value, length);
    }

    /// The bits of a number of a category: of a negative one those of one less.
    fn extra(&mut self, value: i32, size: u32) {
        self.number((if value < 0 { value - 1 } else { value }) as u32, size);
    }

    fn flush(&mut self) {
        while !self.bits.len().is_multiple_of(8) {
            self.bits.push(true);
        }
        for eight in std::mem::take(&mut self.bits).chunks(8) {
            let byte = eight.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
        }
    }

    fn restart(&mut self) {
        self.flush();
        self.bytes.extend([0xFF, 0xD0 + self.restarts % 8]);
        self.restarts += 1;
    }
}

fn size(value: i32) -> u32 {
    value.unsigned_abs().checked_ilog2().map_or(0, |log| log + 1)
}

fn put(stream: &mut Vec<u8>, marker: u8, segment: &[u8]) {
    stream.extend([0xFF, marker]);
    stream.extend((segment.len() as u16 + 2).to_be_bytes());
    stream.extend(segment);
}

fn frame(stream: &mut Vec<u8>, marker: u8, precision: u8, rows: usize, columns: usize) {
    let mut segment = vec![precision];
    segment.extend((rows as u16).to_be_bytes());
    segment.extend((columns as u16).to_be_bytes());
    // Sampling factors of 2: of one component they mean nothing.
    segment.extend([1, 7, 0x22, 0]);
    put(stream, marker, &segment);
}

fn interval(stream: &mut Vec<u8>, interval: usize) {
    if interval > 0 {
        put(stream, 0xDD, &(interval as u16).to_be_bytes());
    }
}

/// The place of the end marker in an encoded stream, without which nothing is missing.
pub fn end(stream: &[u8]) -> usize {
    stream.len() - 2
}

/// A lossless stream (T.81 annex H).
pub fn lossless(samples: &Samples) -> Vec<u8> {
    let mut stream = vec![0xFF, 0xD8];
    let columns = samples.columns;
    put(&mut stream, 0xFE, b"a comment");
    frame(&mut stream, 0xC3, samples.precision, samples.values.len() / columns, columns);
    interval(&mut stream, samples.rows_of_interval * columns);
    let code = Code::new((0..=16).rev().collect(), samples.shape);
    put(&mut stream, 0xC4, &code.segment(0x02));
    put(&mut stream, 0xDA, &[1, 7, 0x20, samples.predictor, 0, samples.point_transform]);
    let values: Vec<i32> =
        samples.values.iter().map(|value| i32::from(value >> samples.point_transform)).collect();
    let mut entropy = Entropy::new();
    for at in 0..values.len() {
        let (y, x) = (at / columns, at % columns);
        let first = y == 0 || samples.rows_of_interval > 0 && y.is_multiple_of(samples.rows_of_interval);
        if first && x == 0 && y > 0 {
            entropy.restart();
        }
        let predicted = if first && x == 0 {
            1 << (samples.precision - samples.point_transform - 1)
        } else if first {
            values[at - 1]
        } else if x == 0 {
            values[at - columns]
        } else {
            let (a, b, c) = (values[at - 1], values[at - columns], values[at - columns - 1]);
            [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) / 2]
                [usize::from(samples.predictor) - 1]
        };
        let difference = i32::from((values[at] - predicted) as i16);
        if difference == -32768 {
            entropy.symbol(&code, 16);
        } else {
            entropy.symbol(&code, size(difference) as u8);
            entropy.extra(difference, size(difference));
        }
    }
    entropy.flush();
    stream.extend(entropy.bytes);
    stream.extend([0xFF, 0xD9]);
    stream
}

fn tables(image: &Blocks, marker: u8) -> Vec<u8> {
    let mut stream = vec![0xFF, 0xD8];
    let wide = image.quantization.iter().any(|factor| *factor > 255);
    let mut segment = vec![if wide { 0x10 } else { 0x00 }];
    for factor in image.quantization {
        let bytes = factor.to_be_bytes();
        segment.extend(if wide { &bytes[..] } else { &bytes[1..] });
    }
    put(&mut stream, 0xDB, &segment);
    frame(&mut stream, marker, image.precision, image.rows, image.columns);
    interval(&mut stream, image.interval);
    stream
}

/// A sequential stream (annex F).
pub fn sequential(image: &Blocks) -> Vec<u8> {
    let mut stream = tables(image, 0xC1);
    let dc = Code::new((0..16).collect(), image.shape);
    let ac = Code::new(
        (0..=255).filter(|s| s & 15 != 15 && (s & 15 != 0 || *s == 0 || *s == 0xF0)).collect(),
        image.shape,
    );
    put(&mut stream, 0xC4, &[dc.segment(0x01), ac.segment(0x13)].concat());
    put(&mut stream, 0xDA, &[1, 7, 0x13, 0, 63, 0]);
    let (mut entropy, mut last) = (Entropy::new(), 0);
    for (index, block) in image.coefficients.iter().enumerate() {
        if image.interval > 0 && index > 0 && index.is_multiple_of(image.interval) {
            entropy.restart();
            last = 0;
        }
        let difference = i32::from(block[0]) - last;
        last = i32::from(block[0]);
        entropy.symbol(&dc, size(difference) as u8);
        entropy.extra(difference, size(difference));
        let mut run = 0;
        for &coefficient in &block[1..] {
            if coefficient == 0 {
                run += 1;
                continue;
            }
            while run > 15 {
                entropy.symbol(&ac, 0xF0);
                run -= 16;
            }
            let value = i32::from(coefficient);
            entropy.symbol(&ac, run << 4 | size(value) as u8);
            entropy.extra(value, size(value));
            run = 0;
        }
        if run > 0 {
            entropy.symbol(&ac, 0);
        }
    }
    entropy.flush();
    stream.extend(entropy.bytes);
    stream.extend([0xFF, 0xD9]);
    stream
}

/// Blocks that have ended and are not told yet, with the corrections of their coefficients.
struct Ended {
    blocks: u32,
    corrections: Vec<bool>,
}

impl Ended {
    fn tell(&mut self, entropy: &mut Entropy, code: &Code) {
        if let Some(log) = self.blocks.checked_ilog2() {
            entropy.symbol(code, (log << 4) as u8);
            entropy.number(self.blocks, log);
            entropy.bits.append(&mut self.corrections);
            self.blocks = 0;
        }
    }
}

/// A progressive stream (annex G), with tables of its own for each scan.
pub fn progressive(image: &Blocks, script: &[Step]) -> Vec<u8> {
    let mut stream = tables(image, 0xC2);
    for (number, &(first, last, high, low)) in script.iter().enumerate() {
        let place = (number % 4) as u8;
        let code = if first == 0 {
            Code::new((0..16).collect(), image.shape)
        } else {
            Code::new((0..=255).filter(|symbol| symbol & 15 != 15).collect(), image.shape)
        };
        put(&mut stream, 0xC4, &code.segment(place | if first == 0 { 0 } else { 0x10 }));
        put(&mut stream, 0xDA, &[1, 7, place << 4 | place, first as u8, last as u8, (high << 4 | low) as u8]);
        let mut entropy = Entropy::new();
        let (mut last_dc, mut ended) = (0, Ended { blocks: 0, corrections: Vec::new() });
        for (index, block) in image.coefficients.iter().enumerate() {
            if image.interval > 0 && index > 0 && index.is_multiple_of(image.interval) {
                ended.tell(&mut entropy, &code);
                entropy.restart();
                last_dc = 0;
            }
            match (first, high) {
                (0, 0) => {
                    let value = i32::from(block[0] >> low);
                    entropy.symbol(&code, size(value - last_dc) as u8);
                    entropy.extra(value - last_dc, size(value - last_dc));
                    last_dc = value;
                }
                (0, _) => entropy.number((block[0] >> low) as u32, 1),
                (_, 0) => first_bits(&mut entropy, &code, &mut ended, &block[first..=last], low),
                (_, _) => more_bits(&mut entropy, &code, &mut ended, &block[first..=last], low),
            }
            if ended.blocks == 0x7FFF {
                ended.tell(&mut entropy, &code);
            }
        }
        ended.tell(&mut entropy, &code);
        entropy.flush();
        stream.extend(entropy.bytes);
    }
    stream.extend([0xFF, 0xD9]);
    stream
}

fn first_bits(entropy: &mut Entropy, code: &Code, ended: &mut Ended, band: &[i16], low: u32) {
    let mut run = 0;
    for &coefficient in band {
        let value = i32::from(coefficient.signum()) * (i32::from(coefficient).abs() >> low);
        if value == 0 {
            run += 1;
            continue;
        }
        ended.tell(entropy, code);
        while run > 15 {
            entropy.symbol(code, 0xF0);
            run -= 16;
        }
        entropy.symbol(code, run << 4 | size(value) as u8);
        entropy.extra(value, size(value));
        run = 0;
    }
    if run > 0 {
        ended.blocks += 1;
    }
}

fn more_bits(entropy: &mut Entropy, code: &Code, ended: &mut Ended, band: &[i16], low: u32) {
    let amounts: Vec<i32> = band.iter().map(|coefficient| i32::from(*coefficient).abs() >> low).collect();
    let last_new = amounts.iter().rposition(|amount| *amount == 1);
    let (mut run, mut corrections) = (0, Vec::new());
    for (k, &amount) in amounts.iter().enumerate() {
        if amount == 0 {
            run += 1;
            continue;
        }
        while run > 15 && last_new.is_some_and(|last| k <= last) {
            ended.tell(entropy, code);
            entropy.symbol(code, 0xF0);
            entropy.bits.append(&mut corrections);
            run -= 16;
        }
        if amount > 1 {
            corrections.push(amount & 1 == 1);
            continue;
        }
        ended.tell(entropy, code);
        entropy.symbol(code, run << 4 | 1);
        entropy.bits.push(band[k] > 0);
        entropy.bits.append(&mut corrections);
        run = 0;
    }
    if run > 0 || !corrections.is_empty() {
        ended.blocks += 1;
        ended.corrections.append(&mut corrections);
    }
}
