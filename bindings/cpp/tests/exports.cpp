// Uses everything that c4c.hpp has, so that the compiler sees all of it.

#include <c4c.hpp>

#define PUBLIC __attribute__((visibility("default")))

extern "C" PUBLIC std::size_t use_everything(const char* path);

extern "C" PUBLIC std::size_t use_everything(const char* path) {
    std::size_t n = c4c::abi_matches() ? std::strlen(c4c::version()) + std::strlen(c4c::build_info()) : 0;
    c4c::Options options;
    options.weights = path;
    options.log = [](c4c::LogLevel, std::string_view) {};
    options.flags = c4c::OptionFlag::raw_output | c4c::OptionFlag::no_cuda_graphs;
    if (const auto gpus = c4c::try_cuda_devices()) n += gpus->count + gpus->reason.size();
    c4c::Result<c4c::Model> created = c4c::Model::try_create(options);
    if (!created) return std::strlen(created.message()) + std::strlen(c4c::status_name(created.status()));
    c4c::Model model = *std::move(created);
    if (const auto info = model.try_info()) n += info->dim;
    if (const auto stats = model.try_stats()) n += stats->calls;
    n += std::strlen(model.try_trim().message());

    c4c::Cancel cancel;
    cancel.fire();
    const c4c::Call call = c4c::Call::until(std::chrono::steady_clock::now(), &cancel);
    const std::vector<std::string> strings(2, "a dog");
    const std::uint8_t pixels[12] = {};
    const c4c::Frame frames[] = {c4c::Frame::packed(c4c::PixelFormat::rgb24, pixels, 2, 2),
                                 c4c::Frame::i420(pixels, 2, pixels, 1, pixels, 1, 2, 2),
                                 c4c::Frame::nv12(pixels, 2, pixels, 2, 2, 2).on_cuda(0, nullptr)};
    std::vector<float> out(3 * model.dim());
    std::vector<c4c::Status> statuses(2);
    const c4c::ProgressFn progress = [](std::size_t, std::size_t) { return true; };
    std::istream stream(nullptr);
    const c4c::Reader reader = c4c::Reader::from(stream);
    c4c::VideoOptions video;
    video.flags = c4c::VideoFlag::apply_rotation | c4c::VideoFlag::strict_decode;
    video.hwaccel = c4c::HwAccel::cuda;
    const std::chrono::seconds second(1);

    for (const bool made :
         {model.try_embed_text("a dog", call).has_value(), model.try_embed_texts(strings, call).has_value(),
          model.try_embed_image(frames[0], call).has_value(), model.try_embed_images(frames, call).has_value(),
          model.try_embed_frames(frames, call).has_value(), model.try_score(strings, frames, call).has_value(),
          model.try_embed_video_path(path, video, call).has_value(),
          model.try_embed_video_memory(pixels, video, call).has_value(),
          model.try_embed_video_io(reader, video, call).has_value(),
          model.try_embed_video_paths(strings, video, call, progress).has_value(),
          model.try_embed_segments(path, second, second, video, call).has_value()}) {
        n += made ? 1u : 0u;
    }
    for (const auto& done :
         {model.try_embed_text("a dog", out, call), model.try_embed_texts({"a", "b"}, out, call),
          model.try_embed_image(frames[0], out, call), model.try_embed_images(frames, out, call),
          model.try_embed_frames(frames, out, call), model.try_score(strings, frames, out, call),
          model.try_embed_video_path(path, out, video, call), model.try_embed_video_memory(pixels, out, video, call),
          model.try_embed_video_io(reader, out, video, call),
          model.try_embed_video_paths(strings, out, video, call, progress),
          model.try_embed_video_paths(strings, out, statuses, video, call, progress)}) {
        n += std::strlen(done.message());
    }
    const c4c::Segments segments;
    for (const c4c::Segment segment : segments) n += segment.vector.size();
    if (const auto cosines = c4c::try_similarity(segments.vectors(), out)) {
        for (const auto row : *cosines) n += row.size();
    }

#if C4C_HPP_EXCEPTIONS
    try {
        c4c::Model thrower(options);
        n += thrower.info().dim + thrower.stats().calls + c4c::cuda_devices().count;
        thrower.trim();
        n += thrower.embed_text("a dog", call).size() + thrower.embed_texts(strings, call).rows() +
             thrower.embed_image(frames[0], call).size() + thrower.embed_images(frames, call).rows() +
             thrower.embed_frames(frames, call).size() + thrower.score(strings, frames, call).size() +
             thrower.embed_video_path(path, video, call).size() +
             thrower.embed_video_memory(pixels, video, call).size() +
             thrower.embed_video_io(reader, video, call).size() +
             thrower.embed_video_paths(strings, video, call, progress).message.size() +
             thrower.embed_segments(path, second, second, video, call).size();
        thrower.embed_text("a dog", out, call);
        thrower.embed_texts({"a", "b"}, out, call);
        thrower.embed_image(frames[0], out, call);
        thrower.embed_images(frames, out, call);
        thrower.embed_frames(frames, out, call);
        thrower.score(strings, frames, out, call);
        thrower.embed_video_path(path, out, video, call);
        thrower.embed_video_memory(pixels, out, video, call);
        thrower.embed_video_io(reader, out, video, call);
        thrower.embed_video_paths(strings, out, video, call, progress);
        thrower.embed_video_paths(strings, out, statuses, video, call, progress);
        c4c::similarity(out, out, out);
        thrower = std::move(model);
        thrower.close();
    } catch (const c4c::Error& error) {
        n += std::strlen(error.what()) + (error.status() == c4c::Status::ok ? 1u : 0u);
    }
#endif
    return n;
}
