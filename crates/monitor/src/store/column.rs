//! Columns of integers: as few bytes as a column's kind allows.
//!
//! A column is differenced none, one or two times, reduced by its minimum and its greatest common divisor, and what is
//! left is a constant, runs, packed bits, or pco in the narrowest of its types: pco's own tables are as wide as the
//! type, which is much for the 120 to 240 values of an hour.

use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use super::wire::{Malformed, Reader, put_signed, put_varint};

/// Most values of a column.
pub const MAX_COLUMN: usize = 8192;
/// What pco writes before its chunks in its format 4.1. Columns leave it out.
const PCO_HEADER: [u8; 2] = [4, 1];
const MAX_ORDER: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Constant = 0,
    Runs = 1,
    Bits = 2,
    Pco16 = 3,
    Pco32 = 4,
    Pco64 = 5,
}

/// Appends the column. It does not say how many values there are.
pub(super) fn put_column(out: &mut Vec<u8>, values: &[i64]) {
    let Some(first) = values.first() else {
        return;
    };
    if values.iter().all(|value| value == first) {
        out.push(Coding::Constant as u8);
        put_signed(out, *first);
        return;
    }
    let mut best = runs(values);
    let mut differences = values.to_vec();
    let mut heads = Vec::new();
    let mut chosen: Option<(u64, u8, Vec<i64>, Vec<i64>)> = None;
    for order in 0..=MAX_ORDER {
        if order > 0 {
            let Some(head) = differences.first().copied() else {
                break;
            };
            heads.push(head);
            differences = differences
                .windows(2)
                .filter_map(|pair| Some(pair.last()?.wrapping_sub(*pair.first()?)))
                .collect();
        }
        if differences.is_empty() {
            break;
        }
        let bits = spread(&differences);
        if chosen.as_ref().is_none_or(|(least, ..)| bits < *least) {
            chosen = Some((bits, order, heads.clone(), differences.clone()));
        }
    }
    if let Some((_, order, heads, differences)) = chosen {
        let limit = best.as_ref().map_or(usize::MAX, Vec::len);
        if let Some(coded) = numbers(order, &heads, &differences).filter(|coded| coded.len() < limit) {
            best = Some(coded);
        }
    }
    out.append(&mut best.unwrap_or_default());
}

/// Reads a column of `count` values off the front, which the caller has bounded.
pub(super) fn take_column(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Malformed> {
    if count > MAX_COLUMN {
        return Err(Malformed("a column is too long"));
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    let tag = reader.byte()?;
    let (coding, order) = (tag & 7, usize::from(tag >> 3));
    if coding == Coding::Constant as u8 && order == 0 {
        return Ok(vec![reader.signed()?; count]);
    }
    if coding == Coding::Runs as u8 && order == 0 {
        return take_runs(reader, count);
    }
    let left = count
        .checked_sub(order)
        .filter(|left| *left > 0 && order <= MAX_ORDER.into());
    let left = left.ok_or(Malformed("a column is differenced too often"))?;
    let mut heads = Vec::with_capacity(order);
    for _ in 0..order {
        heads.push(reader.signed()?);
    }
    let least = reader.signed()?;
    let divisor = reader.varint()?;
    let residuals = take_residuals(reader, coding, left)?;
    let mut values: Vec<i64> = residuals
        .into_iter()
        .map(|residual| least.wrapping_add(residual.wrapping_mul(divisor).cast_signed()))
        .collect();
    while let Some(head) = heads.pop() {
        let mut sum = head;
        let summed = values.iter().map(|difference| {
            sum = sum.wrapping_add(*difference);
            sum
        });
        values = std::iter::once(head).chain(summed).collect();
    }
    Ok(values)
}

/// About how many bits the values need once their mean is known.
fn spread(values: &[i64]) -> u64 {
    let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
    let mean = sum.checked_div(values.len() as i128).unwrap_or(0);
    let bits = values.iter().map(|value| {
        let away = i128::from(*value).abs_diff(mean).saturating_add(1);
        // In sixteenths of a bit, or columns of small numbers would not be told apart.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate; the logarithm of a positive number below 2^65"
        )]
        let bits = ((away as f64).log2() * 16.0) as u64;
        bits
    });
    bits.fold(0, u64::saturating_add)
}

/// Runs of equal values, for flags and what changes seldom. None if there are many.
fn runs(values: &[i64]) -> Option<Vec<u8>> {
    let mut out = vec![Coding::Runs as u8];
    let mut before = 0_i64;
    let mut rest = values;
    while let Some(value) = rest.first() {
        if out.len() > values.len() {
            return None;
        }
        let same = rest.iter().take_while(|other| *other == value).count();
        put_signed(&mut out, value.wrapping_sub(before));
        put_varint(&mut out, same as u64);
        before = *value;
        rest = rest.get(same..).unwrap_or_default();
    }
    Some(out)
}

fn take_runs(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Malformed> {
    let mut values = Vec::with_capacity(count);
    let mut value = 0_i64;
    while values.len() < count {
        value = value.wrapping_add(reader.signed()?);
        let same = reader.count(count.saturating_sub(values.len()))?;
        if same == 0 {
            return Err(Malformed("a run is empty"));
        }
        values.extend(std::iter::repeat_n(value, same));
    }
    Ok(values)
}

fn numbers(order: u8, heads: &[i64], values: &[i64]) -> Option<Vec<u8>> {
    let least = *values.iter().min()?;
    let above = |value: &i64| value.cast_unsigned().wrapping_sub(least.cast_unsigned());
    let divisor = values.iter().map(above).fold(0, greatest_common_divisor).max(1);
    let residuals: Vec<u64> = values
        .iter()
        .map(|value| above(value).checked_div(divisor).unwrap_or(0))
        .collect();
    let width = u64::BITS.saturating_sub(residuals.iter().max()?.leading_zeros());
    let mut start = Vec::new();
    heads.iter().for_each(|head| put_signed(&mut start, *head));
    put_signed(&mut start, least);
    put_varint(&mut start, divisor);
    let mut packed = vec![Coding::Bits as u8 | order << 3];
    packed.extend_from_slice(&start);
    put_bits(&mut packed, &residuals, width);
    let coding = match width {
        0..=16 => Coding::Pco16,
        17..=32 => Coding::Pco32,
        _ => Coding::Pco64,
    };
    let mut out = vec![coding as u8 | order << 3];
    out.append(&mut start);
    let written = match coding {
        Coding::Pco16 => put_pco::<u16>(&mut out, &residuals),
        Coding::Pco32 => put_pco::<u32>(&mut out, &residuals),
        _ => put_pco::<u64>(&mut out, &residuals),
    };
    if written.is_some() && out.len() < packed.len() {
        Some(out)
    } else {
        Some(packed)
    }
}

const fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = match one.checked_rem(other) {
            Some(rest) => (other, rest),
            None => return one,
        };
    }
    one
}

fn put_pco<T: pco::data_types::Number + TryFrom<u64>>(out: &mut Vec<u8>, residuals: &[u64]) -> Option<()> {
    let values: Vec<T> = residuals
        .iter()
        .filter_map(|residual| T::try_from(*residual).ok())
        .collect();
    let config = ChunkConfig::default()
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(DeltaSpec::NoOp);
    let mut chunk = FileCompressor::default()
        .chunk_compressor(&values, &config)
        .ok()?;
    chunk.write_meta(&mut *out).ok()?;
    chunk.write_page(0, &mut *out).ok()?;
    Some(())
}

fn take_residuals(reader: &mut Reader<'_>, coding: u8, count: usize) -> Result<Vec<u64>, Malformed> {
    match coding {
        coding if coding == Coding::Bits as u8 => take_bits(reader, count),
        coding if coding == Coding::Pco16 as u8 => take_pco::<u16>(reader, count),
        coding if coding == Coding::Pco32 as u8 => take_pco::<u32>(reader, count),
        coding if coding == Coding::Pco64 as u8 => take_pco::<u64>(reader, count),
        _ => Err(Malformed("a column's coding is unknown")),
    }
}

fn take_pco<T: pco::data_types::Number + Default + Into<u64>>(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<Vec<u64>, Malformed> {
    const FAULT: Malformed = Malformed("a column's numbers do not decode");
    // In pco's format mode and delta encoding come first, four bits each: classic and none is what this store writes.
    // Others state tables, and take memory for them before anything can be looked at.
    if reader.rest().first() != Some(&0) {
        return Err(FAULT);
    }
    let (file, _) = FileDecompressor::new(&PCO_HEADER[..]).map_err(|_| FAULT)?;
    let (mut chunk, rest) = file
        .chunk_decompressor::<T, _>(reader.rest())
        .map_err(|_| FAULT)?;
    if !matches!(chunk.meta().delta_encoding, pco::metadata::DeltaEncoding::NoOp)
        || !matches!(chunk.meta().mode, pco::metadata::Mode::Classic)
    {
        return Err(FAULT);
    }
    let mut values = vec![T::default(); count];
    let mut page = chunk.page_decompressor(rest, count).map_err(|_| FAULT)?;
    let progress = page.read(&mut values).map_err(|_| FAULT)?;
    if progress.n_processed != count || !progress.finished {
        return Err(FAULT);
    }
    reader.set_rest(page.into_src());
    Ok(values.into_iter().map(Into::into).collect())
}

fn put_bits(out: &mut Vec<u8>, values: &[u64], width: u32) {
    out.push(u8::try_from(width).unwrap_or(0));
    let mut waiting = 0_u128;
    let mut count = 0_u32;
    for value in values {
        waiting |= u128::from(*value) << count;
        count = count.saturating_add(width);
        while count >= 8 {
            out.push((waiting & 0xff) as u8);
            waiting >>= 8;
            count = count.saturating_sub(8);
        }
    }
    if count > 0 {
        out.push((waiting & 0xff) as u8);
    }
}

fn take_bits(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, Malformed> {
    let width = u32::from(reader.byte()?);
    if width > u64::BITS {
        return Err(Malformed("a column's numbers are too wide"));
    }
    let length = count.saturating_mul(width as usize).div_ceil(8);
    let mut bytes = reader.take(length)?.iter();
    let mask = (1_u128 << width).wrapping_sub(1);
    let mut waiting = 0_u128;
    let mut have = 0_u32;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        while have < width {
            let byte = bytes.next().ok_or(Malformed("it is cut short"))?;
            waiting |= u128::from(*byte) << have;
            have = have.saturating_add(8);
        }
        let value = u64::try_from(waiting & mask).map_err(|_| Malformed("a number has more than 64 bits"))?;
        values.push(value);
        waiting >>= width;
        have = have.saturating_sub(width);
    }
    if waiting != 0 {
        return Err(Malformed("a column's last byte is not padded with zeros"));
    }
    Ok(values)
}

/// Which of `count` places are taken: 0 for all, or one more than the runs of absent and present that follow.
pub(super) fn put_presence(out: &mut Vec<u8>, present: &[u32], count: usize) {
    if present.len() == count {
        out.push(0);
        return;
    }
    let mut runs = Vec::new();
    let mut next = 0_u32;
    let mut rest = present;
    while let Some(first) = rest.first() {
        let length = (*first..)
            .zip(rest)
            .take_while(|(place, at)| place == *at)
            .count();
        runs.push((first.saturating_sub(next), length as u64));
        next = first.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        rest = rest.get(length..).unwrap_or_default();
    }
    put_varint(out, (runs.len() as u64).saturating_add(1));
    for (absent, length) in runs {
        put_varint(out, absent.into());
        put_varint(out, length);
    }
}

/// The places that are taken, ascending.
pub(super) fn take_presence(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u32>, Malformed> {
    let end = u32::try_from(count.min(MAX_COLUMN)).unwrap_or(0);
    let Some(runs) = reader.count(MAX_COLUMN)?.checked_sub(1) else {
        return Ok((0..end).collect());
    };
    let mut present = Vec::new();
    let mut next = 0_u32;
    for _ in 0..runs {
        let left = end.saturating_sub(next) as usize;
        let absent = reader.count(left)?;
        let length = reader.count(left.saturating_sub(absent))?;
        if length == 0 {
            return Err(Malformed("a run is empty"));
        }
        let start = next.saturating_add(u32::try_from(absent).unwrap_or(u32::MAX));
        next = start.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        present.extend(start..next);
    }
    Ok(present)
}

#[cfg(test)]
mod tests;
