public import CKernels

/// Where the bytes of an int8 or int4 matrix lie.
///
/// The matrix is cut into blocks of 16 rows, a block into groups of `groupSize` columns, a group into tiles of 64 bytes:
/// 16 rows × 4 columns of int8, or 16 rows × 8 columns of int4. The 16 scales of a group of int8 follow its tiles; the
/// 32 scales of a pair of groups of int4 stand before theirs.
/// Format: `Formats/packed-tile.md`.
public struct PackedTileLayout: Sendable, Hashable {
  public static let tileRows = 16
  /// Bytes of a tile, and of the scales that stand together.
  public static let tileByteCount = 64
  /// Larger groups could overflow the 32-bit sums: 127 · 255 · 4096 < 2^31.
  public static let groupSizes = 4...4096

  /// int8 or int4.
  public let element: ElementType
  public let rows: Int
  public let columns: Int
  /// Columns that share a scale; a multiple of a tile's. The last group may be narrower.
  public let groupSize: Int

  /// - Returns: nil for floats, when the group size is not a multiple of a tile's columns in `groupSizes`, or when a size
  ///   is not positive or does not fit.
  public init?(_ element: ElementType = .int8, rows: Int, columns: Int, groupSize: Int) {
    guard element == .int8 || element == .int4, rows > 0, columns > 0, Self.groupSizes.contains(groupSize),
      groupSize % element.tileColumns == 0,
      rows <= 1 << 31, columns <= 1 << 28
    else { return nil }
    self.element = element
    self.rows = rows
    self.columns = columns
    self.groupSize = groupSize
    guard !rowBlockByteCount.multipliedReportingOverflow(by: rowBlockCount).overflow else { return nil }
  }

  public var rowBlockCount: Int { (rows + Self.tileRows - 1) / Self.tileRows }
  public var groupCount: Int { (columns + groupSize - 1) / groupSize }
  /// Bytes of all groups of 16 rows.
  public var rowBlockByteCount: Int {
    let tiles = (columns + element.tileColumns - 1) / element.tileColumns
    // The scales of two groups of int4 stand together in 64 bytes.
    let scales = element == .int4 ? (groupCount + 1) / 2 : groupCount
    return (tiles + scales) * Self.tileByteCount
  }
  public var byteCount: Int { rowBlockCount * rowBlockByteCount }

  /// The kernels' view of it.
  public var kernelLayout: sp_tile_layout {
    sp_tile_layout(element: element.kernelElement, columns: columns, group_size: groupSize)
  }
}

extension ElementType {
  /// Columns of a tile of 16 rows; a group has a multiple of them.
  public var tileColumns: Int { PackedTileLayout.tileByteCount * 8 / PackedTileLayout.tileRows / bitCount }
}
