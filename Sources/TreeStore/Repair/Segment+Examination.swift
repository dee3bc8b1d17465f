internal import ContextTrees
internal import FileAccess
internal import NodeBlocks

/// What reading every byte of a segment has shown.
struct SegmentExamination {
  /// Entries of the index whose records cannot be read, and why.
  var damaged: [Int: Refusal] = [:]
  /// What is wrong with the file as a whole.
  var fault: Refusal?
  /// Values of whole records that cannot be.
  var ranges: [Refusal] = []
}

extension Segment {
  /// Reads every byte of the file, past what is wrong.
  /// - Parameter digest: the one that names the file.
  func examine(digest: Digest256, progress: (Int) -> Void) -> SegmentExamination {
    var result = SegmentExamination()
    let file = file
    var hasher = Hasher256()
    hasher.update(file.bytes.extracting(0..<records.lowerBound))
    var totals = SegmentTotals()
    var end = records.lowerBound
    var isContiguous = true
    let order = (0..<index.count).map { ($0, index.entry(at: $0)) }.sorted { $0.1.byteOffset < $1.1.byteOffset }
    for (number, entry) in order {
      isContiguous = isContiguous && entry.byteOffset == end
      if isContiguous { hasher.update(file.bytes.extracting(entry.byteOffset..<entry.byteOffset + entry.byteCount)) }
      end = entry.byteOffset + entry.byteCount
      do throws(Refusal) {
        try verify(number, into: &totals)
        if let fault = rangeFault(number) { result.ranges.append(fault) }
      } catch {
        // What lies between the parts is nobody's, and is not copied.
        if error.name == .nonZeroPadding, let record = try? StoredRecord(in: self, at: number),
          (try? verifyParts(record, into: &totals)) != nil
        {
          result.fault = result.fault ?? (isRescued ? nil : error)
        } else {
          result.damaged[number] = error
        }
      }
      progress(end)
    }
    // Of a file without an index only the records count.
    guard !isRescued else { return result }
    guard isContiguous else {
      result.fault = Refusal(.malformedSegment, file: path, structure: "index", "records overlap")
      return result
    }
    hasher.update(file.bytes.extracting(records.upperBound..<file.byteCount))
    if result.damaged.isEmpty, result.fault == nil {
      if totals != self.totals {
        result.fault = Refusal(
          .malformedSegment, file: path, structure: "footer", "the sums are not those of the records")
      } else if hasher.finalize() != digest {
        result.fault = Refusal(.digestMismatch, file: path, "the SHA-256 of the file is not its name")
      }
    }
    return result
  }

  /// A number in a whole record that no model makes.
  private func rangeFault(_ number: Int) -> Refusal? {
    guard let record = try? StoredRecord(in: self, at: number) else { return nil }
    func fault(_ text: String) -> Refusal {
      Refusal(.impossibleValue, file: path, structure: "chunk \(record.key.short)", text)
    }
    if let token = record.tokens.first(where: { $0 < 0 }) { return fault("has token \(token)") }
    let isFrame = record.key == frameKey
    let encoding =
      isFrame ? configuration.text?.frameLayout.encoding ?? configuration.rowEncoding : configuration.rowEncoding
    for block in record.entries.indices {
      guard let bytes = try? record.block(block), !bytes.hasFiniteRows(encoding) else { continue }
      return fault("a key or a value is not finite")
    }
    return nil
  }
}

extension BlockBytes {
  /// Whether rows that are kept as floats are finite numbers.
  fileprivate func hasFiniteRows(_ encoding: RowEncoding) -> Bool {
    let span = bytes
    switch encoding {
    case .float16:
      for offset in stride(from: 0, to: span.byteCount - 1, by: 2)
      where unsafe span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self) & 0x7C00 == 0x7C00 { return false }
    case .float32:
      for offset in stride(from: 0, to: span.byteCount - 3, by: 4)
      where unsafe span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self) & 0x7F80_0000 == 0x7F80_0000 {
        return false
      }
    case .int8, .int4: break
    }
    return true
  }
}
