import FileAccess
import Fuzzing
import Glibc
import ModelPacks
import Testing

/// Packs of whatever bytes, signed before they are read: see `FuzzedReader`.
@Suite struct FuzzedPacks {
  @Test func packs() throws {
    let original = RawPack.example().assembled()
    let scratch = try Scratch()
    let path = "\(scratch.path)/fuzzed.spk"
    try FuzzedReader.run("pack", seeds: [original]) { bytes in
      var bytes = Array(bytes.prefix(original.count) + original.dropFirst(bytes.count))
      HostilePackTests.sign(&bytes, as: original)
      // Another file each time, not published: nothing is synchronized.
      _ = unsafe unlink(path)
      let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
      precondition(unsafe write(descriptor, bytes, bytes.count) == bytes.count, "cannot write \(path)")
      close(descriptor)
      guard let pack = try? ModelPack(opening: path) else { return }
      var sum = 0
      for tensor in pack.tensors {
        precondition(tensor.byteOffset >= 0 && tensor.byteOffset + tensor.byteCount <= pack.byteCount)
        unsafe sum += pack.unsafeBytes(of: tensor).reduce(0) { $0 &+ Int($1) }
      }
      _ = (sum, pack.tokenizer, pack.chatTemplate, pack.reading, pack.sharedLLM, pack.provenance)
      try? pack.verify()
    }
  }
}
