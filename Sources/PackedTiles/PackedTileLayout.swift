/// Where the bytes of an int8 matrix lie.
///
/// The matrix is cut into blocks of 16 rows, a block into groups of `groupSize` columns, a group into tiles of
/// 16 rows × 4 columns; each group's 16 scales follow its tiles.
/// Format: `Formats/packed-tile.md`.
public struct PackedTileLayout: Sendable, Hashable {
  public static let tileRows = 16
  public static let tileColumns = 4
  /// Bytes of a tile, and of the 16 float32 scales of a group.
  public static let tileByteCount = 64
  /// Larger groups could overflow the 32-bit sums: 127 · 255 · 4096 < 2^31.
  public static let groupSizes = 4...4096

  public let rows: Int
  public let columns: Int
  /// Columns that share a scale; a multiple of 4. The last group may be narrower.
  public let groupSize: Int

  /// - Returns: nil when the group size is not a multiple of 4 in `groupSizes`, or a size is not positive or does not
  ///   fit.
  public init?(rows: Int, columns: Int, groupSize: Int) {
    guard rows > 0, columns > 0, Self.groupSizes.contains(groupSize), groupSize % Self.tileColumns == 0,
      rows <= 1 << 31, columns <= 1 << 28
    else { return nil }
    self.rows = rows
    self.columns = columns
    self.groupSize = groupSize
    guard !rowBlockByteCount.multipliedReportingOverflow(by: rowBlockCount).overflow else { return nil }
  }

  public var rowBlockCount: Int { (rows + Self.tileRows - 1) / Self.tileRows }
  /// Columns, rounded up to whole tiles.
  public var paddedColumns: Int { (columns + Self.tileColumns - 1) / Self.tileColumns * Self.tileColumns }
  public var groupCount: Int { (columns + groupSize - 1) / groupSize }
  /// Bytes of all groups of 16 rows.
  public var rowBlockByteCount: Int { paddedColumns * Self.tileRows + groupCount * Self.tileByteCount }
  public var byteCount: Int { rowBlockCount * rowBlockByteCount }
}
