internal import ContextTrees
public import FileAccess
internal import NodeBlocks

extension TreeStore {
  /// Reads every byte of the generation and checks it: digests of files, checksums, padding, frames, keys, and that
  /// every document has its chunks.
  /// - Parameter progress: bytes done and bytes in total; called from time to time.
  /// - Throws: `Refusal` for the first fault.
  public func verify(progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }) throws(Refusal) {
    let total = manifest.segments.reduce(manifest.encoded.count) { $0 + $1.byteCount }
    var done = 0
    try verifyManifest(generation, is: manifestDigest, "has changed since it was opened")
    if let previous = manifest.previous {
      try verifyManifest(generation - 1, is: previous, "is not the generation that the next one follows")
    }
    done += manifest.encoded.count
    progress(done, total)
    for member in segments.members {
      guard let segment = member.segment else {
        throw member.fault ?? Refusal(.missingSegment, file: path, "segment \(member.reference.digest) is not open")
      }
      try segment.verify(digest: member.reference.digest) { progress(done + $0, total) }
      done += segment.file.byteCount
    }
    try verifyDocuments()
  }

  /// A generation that a writer has removed meanwhile is not at fault.
  private func verifyManifest(_ generation: Int, is expected: Digest256, _ fault: String) throws(Refusal) {
    let digest: Digest256
    do {
      (_, digest) = try Manifest.read(generation, in: path)
    } catch {
      guard error.name == .missingFile else { throw error }
      return
    }
    guard digest == expected else {
      throw Refusal(.digestMismatch, file: "\(path)/\(StoreFormat.manifestName(generation))", fault)
    }
  }

  private func verifyDocuments() throws(Refusal) {
    for document in documents {
      var tokenCount = 0
      for key in document.chunks {
        guard let count = segments.tokenCount(of: key) else {
          throw Refusal(
            .missingChunk, file: path, structure: "document \"\(document.name)\"",
            "chunk \(key.short) is in no segment")
        }
        tokenCount += count
      }
      guard tokenCount == configuration.chunkTokenCount(text: document.tokenCount) else {
        throw Refusal(
          .tokenCountMismatch, file: path, structure: "document \"\(document.name)\"",
          "has \(document.tokenCount) tokens and chunks of \(tokenCount)")
      }
    }
  }
}

extension Segment {
  /// Checks every byte of a segment's file, wherever it lies. If its name is a digest, as in a store, the file must
  /// match it.
  /// - Parameter progress: bytes done and bytes in total; called from time to time.
  /// - Returns: the SHA-256 of the file.
  /// - Throws: `Refusal` for the first fault.
  package static func verify(_ path: String, progress: (Int, Int) -> Void) throws(Refusal) -> Digest256 {
    let segment = try Segment(opening: path)
    let name = Directory.split(path).name
    let digest =
      name.hasSuffix(StoreFormat.segmentSuffix)
      ? Digest256(hexadecimal: String(name.dropLast(StoreFormat.segmentSuffix.count))) : nil
    return try segment.verify(digest: digest) { progress($0, segment.file.byteCount) }
  }

  /// Reads the whole file once, from its first byte to its last.
  /// - Parameter digest: the one that names the file; nil where none does.
  /// - Returns: the SHA-256 of the file.
  @discardableResult
  func verify(digest: Digest256?, progress: (Int) -> Void) throws(Refusal) -> Digest256 {
    let file = file
    var hasher = Hasher256()
    hasher.update(file.bytes.extracting(0..<records.lowerBound))
    var totals = SegmentTotals()
    var end = records.lowerBound
    let order = (0..<index.count).map { (entryIndex: $0, entry: index.entry(at: $0)) }
      .sorted { $0.entry.byteOffset < $1.entry.byteOffset }
    for (entryIndex, entry) in order {
      guard entry.byteOffset == end else {
        throw Refusal(
          .malformedSegment, file: path, structure: "index, entry \(entryIndex)",
          "the record starts at byte \(entry.byteOffset), not where the one before ends, \(end)")
      }
      end += entry.byteCount
      hasher.update(file.bytes.extracting(entry.byteOffset..<end))
      try verify(entryIndex, into: &totals)
      progress(end)
    }
    hasher.update(file.bytes.extracting(records.upperBound..<file.byteCount))
    guard totals == self.totals else {
      throw Refusal(.malformedSegment, file: path, structure: "footer", "the sums are not those of the records")
    }
    let found = hasher.finalize()
    if let digest, found != digest {
      throw Refusal(.digestMismatch, file: path, "the SHA-256 of the file is not its name")
    }
    progress(file.byteCount)
    return found
  }

  private func verify(_ entryIndex: Int, into totals: inout SegmentTotals) throws(Refusal) {
    // Parts that a reader checked earlier are checked again: the page may have been read from the disk again since.
    forgetVerified(entryIndex)
    let chunk = try StoredRecord(in: self, at: entryIndex)
    let file = file
    var end = chunk.layout.head.lowerBound
    for part in chunk.layout.parts + [chunk.layout.end..<chunk.layout.end] {
      if let offset = file.bytes.extracting(end..<part.lowerBound).firstNonZeroOffset {
        throw Refusal(
          .nonZeroPadding, file: path, structure: "chunk \(chunk.key.short)", "byte \(end + offset) is not 0")
      }
      end = part.upperBound
    }
    for (number, entry) in chunk.entries.enumerated() {
      totals.blockByteCount += try chunk.block(number).byteCount
      totals.storedBlockByteCount += entry.byteCount
    }
    switch configuration.form {
    case .tree(let form):
      let tree = StoredChunk([chunk], form)
      for node in tree.tree.nodes where try !tree.embedding(of: node).allSatisfy(\.isFinite) {
        throw Refusal(
          .malformedRecord, file: path, structure: "chunk \(chunk.key.short), node \(node.number)",
          "the embedding has a number that is not finite")
      }
    case .text(let form): _ = try StoredText([chunk], form).words()
    }
    totals.chunkCount += 1
    totals.tokenCount += chunk.tokens.count
  }
}
