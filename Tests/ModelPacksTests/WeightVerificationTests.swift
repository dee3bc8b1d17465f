import FileAccess
import Glibc
import ModelPacks
import Synchronization
import Testing

/// Weights are verified once for each state of a file, and damaged ones are found.
@Suite struct WeightVerificationTests {
  /// Whether a pack that is opened now is checked.
  private func isChecked(
    _ path: String, _ known: VerifiedPacks, _ when: WeightVerification = .auto
  ) throws(Refusal) -> Bool {
    try isChecked(try ModelPack(opening: path), known, when)
  }

  private func isChecked(
    _ pack: ModelPack, _ known: VerifiedPacks, _ when: WeightVerification = .auto
  ) throws(Refusal) -> Bool {
    let count = Counter()
    try pack.verifyWeights(when, keepsPages: true, remembering: known) { _ in count.value.add(1, ordering: .relaxed) }
    return count.value.load(ordering: .relaxed) > 0
  }

  private final class Counter: Sendable { let value = Atomic<Int>(0) }

  /// A file whose last change is further back than the time that is asked for.
  private func known(_ scratch: Scratch) -> VerifiedPacks {
    VerifiedPacks(in: "\(scratch.path)/cache/sharedpack", settledSeconds: -1)
  }

  /// Later than the last change by more than the kernel's clock advances at a time.
  private func touch(_ path: String) throws {
    usleep(20_000)
    try #require(unsafe utimes(path, nil) == 0)
  }

  @Test func onceForEachState() throws {
    let scratch = try Scratch()
    let path = try scratch.write(RawPack.example().assembled())
    let known = known(scratch)
    #expect(try isChecked(path, known))
    #expect(try !isChecked(path, known))
    #expect(try isChecked(path, known, .always))
    #expect(try !isChecked(path, known, .never))
    let entries = try Directory.names(in: "\(scratch.path)/cache/sharedpack")
    #expect(entries.count == 1 && entries[0].hasSuffix(".verified"))
    #expect(Directory.isPrivate("\(scratch.path)/cache/sharedpack"))
    // Its time is another one, whatever a program sets it to.
    try touch(path)
    #expect(try isChecked(path, known))
    #expect(try !isChecked(path, known))
    // The same bytes in another file.
    let copy = try scratch.write(try SequentialFile.contents(path, limit: 1 << 20), to: "copy.spk")
    #expect(try isChecked(copy, known))
    #expect(try !isChecked(path, known))
    // It goes with the entries.
    try Directory.removeTree("\(scratch.path)/cache")
    #expect(try isChecked(path, known))
  }

  /// By one process, which has the pack open all the time.
  @Test func onceWhileOpen() throws {
    let scratch = try Scratch()
    let path = try scratch.write(RawPack.example().assembled())
    let pack = try ModelPack(opening: path)
    let nowhere = VerifiedPacks(in: nil)
    #expect(try isChecked(pack, nowhere, .always))
    #expect(try !isChecked(pack, nowhere, .always))
    try touch(path)
    #expect(try isChecked(pack, nowhere, .auto))
  }

  /// A change that might have the same time would not be seen, so nothing is remembered of a file that has just changed.
  @Test func fresh() throws {
    let scratch = try Scratch()
    let path = try scratch.write(RawPack.example().assembled())
    let known = VerifiedPacks(in: "\(scratch.path)/cache/sharedpack")
    #expect(try isChecked(path, known))
    #expect(try isChecked(path, known))
    #expect(Directory.exists("\(scratch.path)/cache") == nil)
  }

  /// What others could have written is not believed, and a directory that cannot be written to does no harm.
  @Test func untrustedEntries() throws {
    let scratch = try Scratch()
    let path = try scratch.write(RawPack.example().assembled())
    let known = known(scratch)
    let directory = "\(scratch.path)/cache/sharedpack"
    #expect(try isChecked(path, known))
    try #require(unsafe chmod(directory, 0o777) == 0)
    #expect(try isChecked(path, known))
    try #require(unsafe chmod(directory, 0o700) == 0)
    let entry = "\(directory)/\(try #require(try Directory.names(in: directory).first))"
    for bytes in [[], Array("sharedpack verified 1\n".utf8)] {
      try Directory.removeFile(entry)
      _ = try scratch.write(bytes, to: "entry")
      try #require(unsafe rename("\(scratch.path)/entry", entry) == 0)
      #expect(try isChecked(path, known))
      #expect(try !isChecked(path, known))
    }
    let file = try scratch.write([], to: "file")
    for impossible in ["\(file)/sharedpack", "/proc/none/sharedpack"] {
      #expect(try isChecked(path, VerifiedPacks(in: impossible, settledSeconds: -1)))
    }
  }

  /// A flipped bit in any tensor is named, remembered or not.
  @Test func damagedWeights() throws {
    let scratch = try Scratch()
    let path = try scratch.write(RawPack.example().assembled())
    let known = known(scratch)
    #expect(try isChecked(path, known))
    let tensors = try ModelPack(opening: path).tensors
    for tensor in tensors {
      var file = try OverwrittenFile(path)
      let offset = tensor.byteOffset + tensor.byteCount / 2
      let byte = try SequentialFile.contents(path, limit: 1 << 20)[offset]
      usleep(20_000)
      try file.overwrite(byte ^ 4, at: offset)
      for when in [WeightVerification.auto, .always] {
        do throws(Refusal) {
          _ = try isChecked(path, known, when)
          Issue.record("\(tensor.name) was not found")
        } catch {
          #expect(error.name == .digestMismatch && error.structure == "tensor \(tensor.name)")
          #expect(error.name.exitStatus == .badInput)
        }
      }
      #expect(try !isChecked(path, known, .never))
      usleep(20_000)
      try file.overwrite(byte, at: offset)
    }
    #expect(try isChecked(path, known))
  }
}
