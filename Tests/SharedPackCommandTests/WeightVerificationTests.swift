import FileAccess
import Foundation
import ModelPacks
import Testing

/// Damaged weights do not answer, and nothing that they made enters a store.
@Suite(.serialized) struct WeightVerificationTests {
  private static let workplace = Result { try Workplace() }

  /// Flips a bit of a weight.
  private func damage(_ path: String) throws -> String {
    let tensor = try #require(try ModelPack(opening: path).tensors.dropFirst(3).first)
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    defer { try? file.close() }
    let offset = UInt64(tensor.byteOffset + 5)
    try file.seek(toOffset: offset)
    let byte = try #require(try file.read(upToCount: 1)?.first)
    try file.seek(toOffset: offset)
    try file.write(contentsOf: [byte ^ 0x10])
    return tensor.name
  }

  @Test func damagedPack() throws {
    let workplace = try Self.workplace.get()
    let path = "\(workplace.path)/damaged.spk"
    try FileManager.default.copyItem(atPath: "\(workplace.path)/model.spk", toPath: path)
    let tensor = try damage(path)
    let line =
      "sharedpack: damaged.spk: tensor \(tensor): its SHA-256 is not the one in the index [digest-mismatch]\n"
    let ask = ["ask", "damaged.spk", "--document", "notes.txt", "what holds", "--max-tokens", "4"]
    for arguments in [
      ask, ask + ["--verify-weights", "always"], ["generate", "damaged.spk", "the", "--max-tokens", "2"],
    ] {
      let outcome = try workplace.run(arguments)
      #expect(outcome.status == 65 && outcome.error == line && outcome.output.isEmpty, "\(outcome)")
    }
    // It answers if it must, but what enters a store is checked at any rate.
    #expect(try workplace.run(ask + ["--verify-weights", "never"]).status == 0)
    for when in ["auto", "always", "never"] {
      let outcome = try workplace.run(
        "store", "build", "damaged.spk", "notes.txt", "--store", "none", "--verify-weights", when)
      #expect(outcome.status == 65 && outcome.error == line, "\(outcome)")
      guard Directory.exists("\(workplace.path)/none") != nil else { continue }
      #expect(try workplace.run("store", "ls", "none").output.isEmpty)
      #expect((try? Directory.names(in: "\(workplace.path)/none/segments"))?.isEmpty ?? true)
    }
    #expect(try workplace.run(ask + ["--verify-weights", "sometimes"]).status == 64)
  }

  /// The second run does not read the weights again, unless somebody has touched the file.
  @Test func remembered() throws {
    let workplace = try Self.workplace.get()
    let path = "\(workplace.path)/remembered.spk"
    try FileManager.default.copyItem(atPath: "\(workplace.path)/plain.spk", toPath: path)
    let cache = "\(workplace.path)-cache/sharedpack"
    func entries() -> Set<UInt64> {
      // By inode: one that is written again is another file.
      let names = (try? Directory.names(in: cache)) ?? []
      return Set(
        names.compactMap {
          (try? FileManager.default.attributesOfItem(atPath: "\(cache)/\($0)"))?[.systemFileNumber] as? UInt64
        })
    }
    func run() throws { try #require(workplace.run("generate", path, "the", "--max-tokens", "2").status == 0) }
    let before = entries()
    // It has just been written: a change could have the same time.
    try run()
    #expect(entries() == before)
    usleep(3_100_000)
    try run()
    let first = entries()
    #expect(first.count == before.count + 1)
    try run()
    #expect(entries() == first)
    try FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: path)
    usleep(3_100_000)
    try run()
    #expect(entries() != first && entries().count == first.count)
  }
}
