//! Memory for the arrays a search touches at random: aligned to pages, and on Linux backed by huge pages, which saves most of the address
//! translations that dominate a walk through a graph of hundreds of megabytes. No vectors and no format here, only memory.

use std::io;

use memmap2::{Mmap, MmapMut};

/// From this size on memory is asked for in huge pages (2 MiB on x86-64); below it they would waste more than they win.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// An owned, zero-initialised, page-aligned array of `T`.
pub(crate) struct Arena<T> {
    map: MmapMut,
    len: usize,
    item: std::marker::PhantomData<T>,
}

impl<T: bytemuck::Pod> Arena<T> {
    /// `len` zeros.
    ///
    /// # Errors
    /// When the system has no memory left.
    pub(crate) fn zeroed(len: usize) -> io::Result<Self> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapMut::map_anon(bytes.max(1))?;
        #[cfg(target_os = "linux")]
        if bytes >= HUGE_PAGE {
            // Best effort: without huge pages everything works, only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Self { map, len, item: std::marker::PhantomData })
    }

    /// A copy of `items`.
    ///
    /// # Errors
    /// When the system has no memory left.
    pub(crate) fn copy_of(items: &[T]) -> io::Result<Self> {
        let mut arena = Self::zeroed(items.len())?;
        arena.as_mut_slice().copy_from_slice(items);
        Ok(arena)
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        bytemuck::cast_slice(self.map.get(..self.len * size_of::<T>()).unwrap_or_default())
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.map.get_mut(..self.len * size_of::<T>()).unwrap_or_default())
    }
}

/// The exact `f32` vectors, row-major: owned after a build, or a part of the index file mapped into memory after a load. They are read only
/// for the final candidates, so they can stay on disk until touched.
pub(crate) enum Floats {
    Owned(Vec<f32>),
    /// `len` values from byte `offset` on, which is a multiple of four.
    Mapped {
        map: Mmap,
        offset: usize,
        len: usize,
    },
}

impl Floats {
    pub(crate) fn as_slice(&self) -> &[f32] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped { map, offset, len } => {
                bytemuck::try_cast_slice(map.get(*offset..offset + len * 4).unwrap_or_default()).unwrap_or_default()
            }
        }
    }
}
