//! Whether a packet of H.264 holds a single field: then two packets make one frame, and an index of packets is none of frames.

use std::ptr;

use ffmpeg_next as ffmpeg;

use ffmpeg::ffi;
use ffmpeg::format::stream::Stream;

use super::source::out_of_memory;
use crate::error::Result;

/// FFmpeg's parser of slice headers.
pub(super) struct Fields {
    parser: *mut ffi::AVCodecParserContext,
    context: *mut ffi::AVCodecContext,
}

impl Fields {
    /// None for streams that are not H.264.
    pub(super) fn new(stream: &Stream) -> Result<Option<Fields>> {
        if stream.parameters().id() != ffmpeg::codec::Id::H264 {
            return Ok(None);
        }
        // SAFETY: contexts that this value owns, made with the parameters of an open stream.
        unsafe {
            let parser = ffi::av_parser_init(ffi::AVCodecID::AV_CODEC_ID_H264 as i32);
            let fields = Fields { parser, context: ffi::avcodec_alloc_context3(ptr::null()) };
            if fields.parser.is_null() || fields.context.is_null() {
                return Err(out_of_memory());
            }
            if ffi::avcodec_parameters_to_context(fields.context, (*stream.as_ptr()).codecpar) < 0 {
                return Err(out_of_memory());
            }
            (*fields.parser).flags |= ffi::PARSER_FLAG_COMPLETE_FRAMES as i32;
            Ok(Some(fields))
        }
    }

    /// Whether the packet with this data begins with a field. It may hold the other one, too.
    pub(super) fn is_field(&mut self, data: &[u8]) -> bool {
        let Ok(size) = i32::try_from(data.len()) else { return false };
        let (mut out, mut out_size) = (ptr::null_mut(), 0);
        // SAFETY: both contexts are valid, and the packet's data has the padding behind it that FFmpeg's packets have.
        unsafe {
            ffi::av_parser_parse2(
                self.parser,
                self.context,
                &mut out,
                &mut out_size,
                data.as_ptr(),
                size,
                ffi::AV_NOPTS_VALUE,
                ffi::AV_NOPTS_VALUE,
                0,
            );
            let structure = (*self.parser).picture_structure;
            structure == ffi::AVPictureStructure::AV_PICTURE_STRUCTURE_TOP_FIELD
                || structure == ffi::AVPictureStructure::AV_PICTURE_STRUCTURE_BOTTOM_FIELD
        }
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        // SAFETY: null or contexts that this value owns.
        unsafe {
            if !self.parser.is_null() {
                ffi::av_parser_close(self.parser);
            }
            ffi::avcodec_free_context(&mut self.context);
        }
    }
}
