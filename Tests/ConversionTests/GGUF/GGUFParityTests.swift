import Conversion
import FileAccess
import Foundation
import ModelPacks
import Testing

/// Compares every type of number with the package gguf: `Tools/verify/gguf` has written models of random blocks, and the
/// floats that they stand for, into a directory.
@Test(
  "GGUFParity",
  .enabled(if: ProcessInfo.processInfo.environment["SHAREDPACK_GGUF_DIR"] != nil, "Tools/verify/gguf sets it up"))
func ggufParity() throws {
  let directory = try #require(ProcessInfo.processInfo.environment["SHAREDPACK_GGUF_DIR"])
  let scratch = try Scratch()
  let names = try Directory.names(in: directory).filter { $0.hasSuffix(".gguf") }.sorted()
  #expect(names.count == 16)
  for name in names {
    let stem = name.dropLast(".gguf".count)
    var options = Converter.Options()
    options.encoding = .float32
    _ = try Converter(directory: "\(directory)/\(name)", options: options).run(output: "\(scratch.path)/pack.spk")
    let pack = try ModelPack(opening: "\(scratch.path)/pack.spk")
    let expected = try SafetensorsFile(reading: "\(directory)/\(stem).safetensors").tensors
    #expect(Set(pack.tensors.map(\.name)) == Set(expected.keys))
    var count = 0
    for tensor in pack.tensors {
      let floats = try #require(expected[tensor.name]?.floats)
      let bits = ConversionTests.floats(pack, tensor).map(\.bitPattern)
      let different = zip(bits, floats).filter { $0 != $1.bitPattern }.count
      #expect(different == 0 && bits.count == floats.count, "\(stem), \(tensor.name): \(different) numbers differ")
      count += floats.count
    }
    print("\(stem): \(count) numbers are the same to the bit")
  }
}
