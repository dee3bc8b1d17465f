extension TokenizerDefinition {
  /// Finds all the pairs of symbols that a piece is made of, for vocabularies that rank pieces and list no merges.
  /// - Parameter scores: of each piece; higher goes first, equal scores share a rank.
  mutating func deriveMerges(scores: [Float]) throws(TokenizerError) {
    var index = PieceIndex(capacity: pieces.count)
    for piece in kinds.indices where kinds[piece] != .byte {
      guard index.insert(piece, of: pieces) else {
        throw TokenizerError(.duplicatePiece, "piece \(piece)", "its spelling has another piece already")
      }
    }
    if unit == .characters { extraCharacters = try extraCharacters(index) }
    var found: [Merge] = []
    for piece in kinds.indices where isMergeable(piece) {
      let bytes = pieces.bytes.span
      let range = pieces.range(piece)
      guard range.count > 1 else { continue }
      let hashes = PieceIndex.PartHashes(bytes, range)
      for split in 1..<range.count {
        let middle = range.lowerBound + split
        if unit == .characters, bytes[middle] & 0xC0 == 0x80 { continue }
        guard let left = symbol(range.lowerBound..<middle, hashes[0..<split], index),
          let right = symbol(middle..<range.upperBound, hashes[split..<range.count], index)
        else { continue }
        found.append(Merge(left: left, right: right, result: UInt32(piece), sharesRank: false))
        guard found.count < TokenizerLimits.mergeCount else {
          throw TokenizerError(.tooLarge, "merges", "there are more than \(TokenizerLimits.mergeCount)")
        }
      }
    }
    // A stable order, so that equal files have equal serialized forms.
    func key(_ merge: Merge) -> (UInt32, UInt32, UInt32) { (merge.result, merge.left, merge.right) }
    found.sort { first, second in
      let (one, other) = (scores[Int(first.result)], scores[Int(second.result)])
      return one != other ? one > other : key(first) < key(second)
    }
    for merge in found.indices.dropFirst() {
      found[merge].sharesRank = scores[Int(found[merge].result)] == scores[Int(found[merge - 1].result)]
    }
    merges = found
  }

  private func isMergeable(_ piece: Int) -> Bool { kinds[piece] == .normal || kinds[piece] == .unused }

  /// The symbol of a part of a piece: a piece that merging makes, or a single character, whether or not that is such a
  /// piece. A user-defined piece never merges.
  private func symbol(_ range: Range<Int>, _ hash: UInt64, _ index: PieceIndex) -> UInt32? {
    let bytes = pieces.bytes.span
    let isCharacter =
      unit == .characters && UTF8Scan.scalar(at: range.lowerBound, of: bytes).byteCount == range.count
    if let piece = index.find(hash: hash, range, of: bytes, in: pieces) {
      switch kinds[Int(piece)] {
      case .normal, .unused: return piece
      // As a part it is that character, and never the special piece.
      case .control where isCharacter, .unknown where isCharacter: break
      default: return nil
      }
    }
    guard isCharacter else { return nil }
    let scalar = UTF8Scan.scalar(at: range.lowerBound, of: bytes).value
    var low = 0
    var high = extraCharacters.count
    while low < high {
      let middle = (low + high) / 2
      if extraCharacters[middle] < scalar { low = middle + 1 } else { high = middle }
    }
    guard low < extraCharacters.count, extraCharacters[low] == scalar else { return nil }
    return UInt32(pieces.count + low)
  }

  /// The characters of mergeable pieces that have no symbol of their own.
  private func extraCharacters(_ index: PieceIndex) throws(TokenizerError) -> [UInt32] {
    var found: Set<UInt32> = []
    let bytes = pieces.bytes.span
    for piece in kinds.indices where isMergeable(piece) {
      let range = pieces.range(piece)
      var offset = range.lowerBound
      while offset < range.upperBound {
        let scalar = UTF8Scan.scalar(at: offset, of: bytes)
        let character = offset..<offset + scalar.byteCount
        let known = index.find(character, of: bytes, in: pieces)
        if known.map({ kinds[Int($0)] == .unknown || kinds[Int($0)] == .control }) ?? true {
          found.insert(scalar.value)
        }
        offset = character.upperBound
      }
    }
    guard pieces.count + found.count <= TokenizerLimits.symbolCount else {
      throw TokenizerError(.tooLarge, "pieces", "too many characters")
    }
    return found.sorted()
  }
}
