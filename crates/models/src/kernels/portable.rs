//! The loops in plain Rust: what runs where no faster set does, and what the faster ones are tested against.

use super::{Kernels, LANE, Panel};

pub(super) const KERNELS: Kernels = Kernels { rank_update, row_gram, dot, axpy, scale };

fn rank_update(n: usize, sign: f32, panel: Panel<'_>, out: &mut [f32], out_stride: usize) {
    for p in 0..panel.rows {
        let row = &panel.data[p * panel.stride..p * panel.stride + n];
        for i in 0..n {
            axpy(sign * row[i], &row[i..], &mut out[i * out_stride + i..i * out_stride + n]);
        }
    }
}

fn row_gram(width: usize, panel: Panel<'_>, out: &mut [f32], out_stride: usize) {
    let row = |i: usize| &panel.data[i * panel.stride..i * panel.stride + width];
    for i in 0..panel.rows {
        for j in i..panel.rows {
            out[i * out_stride + j] = dot(row(i), row(j));
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANE];
    let (a_lanes, a_rest) = a.as_chunks::<LANE>();
    let (b_lanes, b_rest) = b.as_chunks::<LANE>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANE {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

fn scale(factor: f32, x: &[f32], scales: &[f32], out: &mut [f32]) {
    for ((out, x), scale) in out.iter_mut().zip(x).zip(scales) {
        *out = factor * x * scale;
    }
}
