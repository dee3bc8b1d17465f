import FileAccess
import Fuzzing
import ModelPacks
import Testing

/// Packs of whatever bytes, signed before they are read: see `FuzzedReader`.
@Suite struct FuzzedPacks {
  @Test func packs() throws {
    let original = RawPack.example().assembled()
    let scratch = try Scratch()
    let path = "\(scratch.path)/fuzzed.spk"
    try FuzzedReader.run("pack", seeds: [original]) { bytes in
      var bytes = FuzzedReader.fit(bytes, to: original)
      HostilePackTests.sign(&bytes, as: original)
      FuzzedReader.write(bytes, to: path)
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
