import Dispatch
public import FileAccess
import Synchronization

extension ModelPack {
  /// Checks the digest of every tensor, on all cores, and of sections that opening skipped, reading the whole file once.
  ///
  /// What opening checked is not checked again.
  /// - Parameter progress: called with the number of bytes, of `byteCount`, that are checked; from any thread, but
  ///   one at a time.
  /// - Throws: `Refusal` `digest-mismatch`, naming the first tensor in the file, or the section, that is not as it was written.
  public func verify(progress: @Sendable (_ checkedByteCount: Int) -> Void = { _ in }) throws(Refusal) {
    for section in skippedSections { try Self.checkDigest(of: section, in: file) }
    struct State {
      var next = 0
      var checkedByteCount = 0
      var firstFault: Int?
    }
    let state = Mutex(State())
    DispatchQueue.concurrentPerform(iterations: min(Self.verifierCount, tensors.count)) { _ in
      while let number = state.withLock({ state -> Int? in
        guard state.next < tensors.count, state.firstFault == nil else { return nil }
        state.next += 1
        return state.next - 1
      }) {
        let isWhole = digest(of: tensors[number]) == tensors[number].digest
        state.withLock { state in
          if !isWhole { state.firstFault = min(state.firstFault ?? number, number) }
          state.checkedByteCount += tensors[number].byteCount
          progress(state.checkedByteCount)
        }
      }
    }
    if let number = state.withLock(\.firstFault) {
      throw Refusal(
        .digestMismatch, file: path, structure: "tensor \(tensors[number].name)",
        "its SHA-256 is not the one in the index")
    }
  }

  private static let verifierCount = 64

  private func digest(of tensor: PackTensor) -> Digest256 {
    let file = file
    var hasher = Hasher256()
    let end = tensor.byteOffset + tensor.byteCount
    for start in stride(from: tensor.byteOffset, to: end, by: 1 << 23) {
      let range = start..<min(start + 1 << 23, end)
      file.advise(.willNeed, range)
      hasher.update(file.bytes.extracting(range))
      // Little of a pack that is larger than memory stays mapped.
      file.advise(.release, range)
    }
    return hasher.finalize()
  }
}
