import FileAccess
import ModelPacks
import Testing

@Suite struct PackReadingTests {
  private static func pack(in scratch: Scratch, reading: PackReading? = nil) throws -> ModelPack {
    var contents = ModelPackTests.contents(ModelPackTests.tiny)
    contents.tokenizer = Array("tokens".utf8)
    contents.chatTemplate = "{{ messages }}"
    contents.metadata.reading = reading
    let path = "\(scratch.path)/pack.spk"
    _ = try ModelPackTests.write(contents, to: path) { number, byteCount in
      (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ number) }
    }
    return try ModelPack(opening: path)
  }

  @Test func readingStaysInThePack() throws {
    let scratch = try Scratch()
    #expect(try Self.pack(in: scratch).reading == nil)
    let reading = PackReading(chunkSize: 128, chunkCount: 3)
    #expect(try Self.pack(in: scratch, reading: reading).reading == reading)
  }

  /// All but the reading and the identity is as it was, under another name and under its own.
  @Test(arguments: ["other.spk", "pack.spk"])
  func writesTheSameModelAnew(name: String) throws {
    let scratch = try Scratch()
    let old = try Self.pack(in: scratch)
    var steps: [Int] = []
    let reading = PackReading(chunkSize: 64, chunkCount: 2)
    let identity = try old.write(to: "\(scratch.path)/\(name)", reading: reading) { done, _ in steps.append(done) }
    let new = try ModelPack(opening: "\(scratch.path)/\(name)")
    try new.verify()
    #expect(new.identity == identity && new.identity != old.identity && new.reading == reading)
    #expect(new.tensors.map(\.digest) == old.tensors.map(\.digest) && new.configuration == old.configuration)
    #expect(new.tokenizer == old.tokenizer && new.chatTemplate == old.chatTemplate && new.provenance == old.provenance)
    #expect(steps.last == new.tensors.reduce(0) { $0 + $1.byteCount } && steps == steps.sorted())
    // The same choice makes the same bytes.
    #expect(try new.write(to: "\(scratch.path)/again.spk", reading: reading) == identity)
  }

  @Test func damagedWeightsAreNotPassedOn() throws {
    let scratch = try Scratch()
    let path = try Self.pack(in: scratch).path
    var bytes = try SequentialFile.contents(path, limit: 1 << 20)
    bytes[bytes.count - 1] ^= 1
    let damaged = try ModelPack(opening: scratch.write(bytes))
    do {
      _ = try damaged.write(to: "\(scratch.path)/new.spk", reading: PackReading(chunkSize: 64, chunkCount: 1))
      Issue.record("a damaged pack was passed on")
    } catch {
      #expect(error.name == .digestMismatch && error.structure.hasPrefix("tensor "))
    }
    #expect(try !Directory.names(in: scratch.path).contains("new.spk"))
  }
}
