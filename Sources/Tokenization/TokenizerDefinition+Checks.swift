extension TokenizerDefinition {
  /// Whether some piece that merges make has a space after something else.
  var hasSpaceWithinPiece: Bool {
    let space = flags.contains(.escapesSpaces) ? spaceMark : [0x20]
    let bytes = pieces.bytes.span
    for index in kinds.indices where kinds[index] == .normal || kinds[index] == .unused {
      let range = pieces.range(index)
      var offset = range.lowerBound
      var seenOther = false
      while offset < range.upperBound {
        if bytes[offset] == space[0], range.upperBound - offset >= space.count,
          space.indices.allSatisfy({ bytes[offset + $0] == space[$0] })
        {
          if seenOther { return true }
          offset += space.count
        } else {
          seenOther = true
          offset += 1
        }
      }
    }
    return false
  }

  /// Whether every text has tokens without an unknown one: each byte has a piece, or byte fallback has all of them.
  var hasAllBytes: Bool {
    let kind = unit == .bytes ? PieceKind.normal : .byte
    guard unit == .bytes || flags.contains(.byteFallback) else { return false }
    var found = [Bool](repeating: false, count: 256)
    for index in kinds.indices where kinds[index] == kind && pieces.range(index).count == 1 {
      found[Int(pieces.bytes[pieces.range(index).lowerBound])] = true
    }
    return found.allSatisfy { $0 }
  }

  /// Checks that all parts agree. After it, every index that encoding and decoding follow stays within its array.
  func check() throws(TokenizerError) {
    let symbolCount = pieces.count + extraCharacters.count
    guard pieces.count > 0 else { throw TokenizerError(.malformed, "pieces", "there are none") }
    guard symbolCount <= TokenizerLimits.symbolCount else {
      throw TokenizerError(.tooLarge, "pieces", "\(symbolCount) symbols exceed \(TokenizerLimits.symbolCount)")
    }
    guard pieces.bytes.count <= TokenizerLimits.vocabularyByteCount else {
      throw TokenizerError(.tooLarge, "pieces", "\(pieces.bytes.count) bytes of pieces")
    }
    guard merges.count < TokenizerLimits.mergeCount else {
      throw TokenizerError(.tooLarge, "merges", "\(merges.count) exceed \(TokenizerLimits.mergeCount)")
    }
    try checkPieces()
    try checkCharacters()
    try checkMerges(symbolCount)
    for token in [unknownToken, beginOfText].compactMap({ $0 }) + endOfText {
      guard token >= 0, Int(token) < pieces.count else {
        throw TokenizerError(.malformed, "special tokens", "\(token) is not a token")
      }
    }
    if let unknownToken {
      guard kinds[Int(unknownToken)] == .unknown || flags.contains(.usesSteps) && kinds[Int(unknownToken)] != .inert
      else {
        throw TokenizerError(.malformed, "unknown token", "piece \(unknownToken) is of another kind")
      }
    } else if unit == .characters, !flags.contains(.byteFallback), !flags.contains(.usesSteps) {
      throw TokenizerError(.missingPiece, "unknown token", "some characters have no token")
    }
    guard unknownSurface.count <= TokenizerLimits.pieceByteCount,
      String(validating: unknownSurface, as: UTF8.self) != nil
    else {
      throw TokenizerError(.malformed, "unknown surface", "it is not UTF-8, or too long")
    }
    try checkSteps()
    guard unit == .characters || pattern != .none || flags.contains(.usesSteps) else {
      throw TokenizerError(.unsupported, "word pattern", "symbols are bytes and no pattern splits the text")
    }
  }

  private func checkPieces() throws(TokenizerError) {
    guard kinds.count == pieces.count else { throw TokenizerError(.malformed, "pieces", "kinds are missing") }
    var matchedCount = 0
    var matchedByteCount = 0
    var start: UInt32 = 0
    for index in 0..<pieces.count {
      let end = pieces.ends[index]
      guard end >= start, end <= pieces.bytes.count else {
        throw TokenizerError(.malformed, "piece \(index)", "it leaves the bytes of the pieces")
      }
      let count = Int(end - start)
      guard count > 0 || kinds[index] == .inert else {
        throw TokenizerError(.malformed, "piece \(index)", "it is empty")
      }
      guard count <= TokenizerLimits.pieceByteCount else {
        throw TokenizerError(.tooLarge, "piece \(index)", "it has \(count) bytes")
      }
      start = end
      switch kinds[index] {
      case .byte:
        guard count == 1, unit == .characters else {
          throw TokenizerError(.malformed, "piece \(index)", "it is not one byte of a character")
        }
      case .control, .unknown, .userDefined:
        matchedCount += 1
        matchedByteCount += count
      case .unused:
        guard unit == .characters else {
          throw TokenizerError(.malformed, "piece \(index)", "an unused piece of a vocabulary of bytes")
        }
        guard !flags.contains(.usesSteps) else {
          throw TokenizerError(.malformed, "piece \(index)", "an unused piece of a vocabulary with steps")
        }
      case .inert: break
      case .normal: break
      }
      if kinds[index] == .byte || kinds[index] == .normal && unit == .bytes { continue }
      guard String(validating: pieces[index], as: UTF8.self) != nil else {
        throw TokenizerError(.malformed, "piece \(index)", "it is not UTF-8")
      }
    }
    guard Int(start) == pieces.bytes.count else {
      throw TokenizerError(.malformed, "pieces", "bytes are left over")
    }
    guard matchedCount <= TokenizerLimits.matchedPieceCount, matchedByteCount <= TokenizerLimits.matchedByteCount else {
      throw TokenizerError(.tooLarge, "special pieces", "there are \(matchedCount), of \(matchedByteCount) bytes")
    }
  }

  private func checkCharacters() throws(TokenizerError) {
    guard extraCharacters.isEmpty || unit == .characters else {
      throw TokenizerError(.malformed, "extra characters", "symbols are bytes")
    }
    var last: UInt32?
    for (index, value) in extraCharacters.enumerated() {
      guard Unicode.Scalar(value) != nil, last.map({ $0 < value }) ?? true else {
        throw TokenizerError(.malformed, "extra character \(index)", "it is not a scalar, or is out of order")
      }
      last = value
    }
  }

  private func checkMerges(_ symbolCount: Int) throws(TokenizerError) {
    var byteCounts: [Int16] = []
    byteCounts.reserveCapacity(symbolCount)
    for index in 0..<pieces.count { byteCounts.append(Int16(pieces.range(index).count)) }
    for scalar in extraCharacters { byteCounts.append(Int16(Unicode.Scalar(scalar).map { UTF8.width($0) } ?? 0)) }
    for (index, merge) in merges.enumerated() {
      // That a merge is as long as its parts also means that merging ends.
      guard Int(max(merge.left, merge.right)) < symbolCount, Int(merge.result) < pieces.count,
        byteCounts[Int(merge.left)] + byteCounts[Int(merge.right)] == byteCounts[Int(merge.result)]
      else {
        throw TokenizerError(.malformed, "merge \(index)", "it does not join two symbols to a piece")
      }
      let kind = kinds[Int(merge.result)]
      guard kind == .normal || kind == .unused || kind == .userDefined && flags.contains(.usesSteps) else {
        throw TokenizerError(.malformed, "merge \(index)", "it makes a special piece")
      }
    }
  }

  /// Checks the steps and the options of added tokens.
  private func checkSteps() throws(TokenizerError) {
    for (token, value) in options.sorted(by: { $0.key < $1.key }) {
      let structure = "options of added token \(token)"
      guard token >= 0, Int(token) < pieces.count,
        kinds[Int(token)] == .control || kinds[Int(token)] == .userDefined
      else { throw TokenizerError(.malformed, structure, "it is not an added token") }
      guard !value.isEmpty, value.isSubset(of: .all) else {
        throw TokenizerError(.malformed, structure, "there are none, or unknown ones")
      }
      guard flags.contains(.usesSteps) || !value.contains(.normalized) else {
        throw TokenizerError(.malformed, structure, "there is no normalized text")
      }
    }
    guard flags.contains(.usesSteps) else {
      guard normalizers.isEmpty, splits.isEmpty, !flags.contains(.fusesUnknown) else {
        throw TokenizerError(.malformed, "steps", "there are some, and the flag for them is not set")
      }
      return
    }
    guard pattern == .none, prefixRule == .never, flags.isDisjoint(with: .replacedBySteps), extraCharacters.isEmpty
    else {
      throw TokenizerError(.malformed, "steps", "the header splits or prepares the text, too")
    }
    guard max(normalizers.count, splits.count) <= TokenizerLimits.stepCount else {
      throw TokenizerError(.tooLarge, "steps", "there are more than \(TokenizerLimits.stepCount)")
    }
    for (index, record) in (normalizers.map(\.record) + splits.map(\.record)).enumerated() {
      for text in [record.first, record.second] {
        guard text.count <= TokenizerLimits.stepByteCount else {
          throw TokenizerError(
            .tooLarge, "step \(index)", "\(text.count) bytes exceed \(TokenizerLimits.stepByteCount)")
        }
        guard String(validating: text, as: UTF8.self) != nil else {
          throw TokenizerError(.malformed, "step \(index)", "its text is not UTF-8")
        }
      }
    }
    let byteSteps = splits.indices.filter { if case .byteLevel = splits[$0] { true } else { false } }
    let spaceSteps = splits.indices.filter { if case .metaspace = splits[$0] { true } else { false } }
    guard byteSteps.count == (unit == .bytes ? 1 : 0) else {
      throw TokenizerError(.malformed, "steps", "the symbols of merging are not those that the steps make")
    }
    guard spaceSteps.count <= 1, spaceSteps.isEmpty || byteSteps.isEmpty else {
      throw TokenizerError(.unsupported, "steps", "Metaspace twice, or with ByteLevel")
    }
  }
}
