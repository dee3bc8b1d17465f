import Dispatch
public import FileAccess
import Synchronization

/// When the weights of a pack are verified before they are used.
public enum WeightVerification: String, Sendable, Hashable, CaseIterable {
  /// When no process of this user has verified the file as it is now. That it was verified is remembered in the user's
  /// cache directory, by identity, device, inode, length and times.
  case auto
  /// Once by each process that opens the pack.
  case always
  /// Not at all.
  case never
}

extension ModelPack {
  /// Verifies the weights unless they are known to be as they were written.
  /// - Parameters:
  ///   - when: what is known is believed.
  ///   - keepsPages: whether what is read for it stays mapped, for a pack that fits the memory.
  ///   - known: where it is remembered.
  ///   - progress: as of `verify`; not called when nothing is to be done.
  /// - Throws: `Refusal` as `verify`.
  package func verifyWeights(
    _ when: WeightVerification, keepsPages: Bool, remembering known: VerifiedPacks = .ofUser,
    progress: @Sendable (_ checkedByteCount: Int) -> Void = { _ in }
  ) throws(Refusal) {
    guard when != .never else { return }
    let state = file.state
    if let state {
      if verifiedState.withLock({ $0 == state }) { return }
      if when == .auto, known.contains(identity, state) {
        verifiedState.withLock { $0 = state }
        return
      }
    }
    try verify(keepsPages: keepsPages, progress: progress)
    // One that was written to meanwhile is verified again the next time.
    guard let state, file.state == state else { return }
    verifiedState.withLock { $0 = state }
    known.insert(identity, state)
  }

  /// Checks the digest of every tensor, on all cores, and of sections that opening skipped, reading the whole file once.
  ///
  /// What opening checked is not checked again.
  /// - Parameter progress: called with the number of bytes, of `byteCount`, that are checked; from any thread, but
  ///   one at a time.
  /// - Throws: `Refusal` `digest-mismatch`, naming the first tensor in the file, or the section, that is not as it was written.
  public func verify(progress: @Sendable (_ checkedByteCount: Int) -> Void = { _ in }) throws(Refusal) {
    try verify(keepsPages: false, progress: progress)
  }

  private func verify(keepsPages: Bool, progress: @Sendable (_ checkedByteCount: Int) -> Void) throws(Refusal) {
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
        let isWhole = digest(of: tensors[number], keepsPages: keepsPages) == tensors[number].digest
        state.withLock { state in
          if !isWhole { state.firstFault = min(state.firstFault ?? number, number) }
          state.checkedByteCount += tensors[number].byteCount
          progress(state.checkedByteCount)
        }
      }
    }
    try requireWhole()
    if let number = state.withLock(\.firstFault) {
      throw Refusal(
        .digestMismatch, file: path, structure: "tensor \(tensors[number].name)",
        "its SHA-256 is not the one in the index")
    }
  }

  private static let verifierCount = 64

  private func digest(of tensor: PackTensor, keepsPages: Bool) -> Digest256 {
    let file = file
    var hasher = Hasher256()
    let end = tensor.byteOffset + tensor.byteCount
    for start in stride(from: tensor.byteOffset, to: end, by: 1 << 23) {
      let range = start..<min(start + 1 << 23, end)
      file.advise(.willNeed, range)
      hasher.update(file.bytes.extracting(range))
      // Little of a pack that is larger than memory stays mapped.
      if !keepsPages { file.advise(.release, range) }
    }
    return hasher.finalize()
  }
}
